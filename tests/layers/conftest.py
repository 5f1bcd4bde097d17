import numpy as np
import pytest

import clstm


def listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


class Differences:
    """Compares a layer's backward run with central differences of its forward run, in float64."""

    epsilon = 1e-5
    tolerance = 1e-6

    def __call__(self, layer, inputs, mask=None, training=False, moves=True, before=None,
                 **options):  # fmt: skip
        """Check the gradients of inputs (unless not `moves`) and weights.

        The scalar is the sum of all outputs times fixed random factors; before: called ahead of
        each forward run, to make random layers repeat themselves; options: of forward.
        """
        inputs = [np.array(x, np.float64) if moves else x for x in listed(inputs)]
        several = len(inputs) > 1
        rng = np.random.default_rng(7)
        clstm.set_seed(7)  # weights that might lie at an edge of a max would fail now and then
        layer.ensure_built([x.shape for x in inputs] if several else inputs[0].shape)

        def run():
            if before is not None:
                before()
            outputs, tape = layer.forward(inputs if several else inputs[0], training, mask,
                                          **options)  # fmt: skip
            return listed(outputs), tape

        for part in layer.walk():
            for name, weight in part.params.items():
                weight += 0.1 * rng.normal(size=weight.shape)
                part.grads[name][...] = 0
        outputs, tape = run()
        for y in outputs:
            assert y.dtype == np.float64
        d = [rng.normal(size=y.shape) for y in outputs]

        def scalar():
            return sum((y * g).sum() for y, g in zip(run()[0], d, strict=True))

        dx = layer.backward(tape, d if len(d) > 1 else d[0], need_dx=moves)
        pairs = list(zip(inputs, listed(dx), strict=True)) if moves else []
        pairs += [(w, part.grads[n]) for part in layer.walk() for n, w in part.params.items()]
        assert pairs
        for array, gradient in pairs:
            assert gradient.shape == array.shape
            direction = rng.normal(size=array.shape)
            kept = array.copy()
            ends = []
            for sign in (1, -1):
                array[...] = kept + sign * self.epsilon * direction
                ends.append(scalar())
            array[...] = kept
            wanted = (ends[0] - ends[1]) / (2 * self.epsilon)
            scale = np.abs(gradient * direction).sum() + 1e-9
            assert abs((gradient * direction).sum() - wanted) / scale < self.tolerance
        return outputs


@pytest.fixture
def differences():
    return Differences()


@pytest.fixture
def rng():
    return np.random.default_rng(0)
