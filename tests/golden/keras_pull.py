"""What the Keras scripts share: versions; outputs and gradients of a layer, on TensorFlow."""

import importlib
import platform

import keras
import numpy as np
from golden_io import grid

keras.config.set_floatx("float64")
backend = importlib.import_module(keras.backend.backend())

VERSIONS = {
    "keras": keras.__version__,
    keras.backend.backend(): backend.__version__,
    "numpy": np.__version__,
    "python": platform.python_version(),
    "dtype": "float64",
}


def set_random(layer, rng, scale=0.5):
    layer.set_weights([grid(rng, *w.shape, scale=scale) for w in layer.get_weights()])
    return layer.get_weights()


def numbered(prefix, values):
    return {f"{prefix}{i}": v for i, v in enumerate(values)}


def pull(layer, rng, inputs, mask=None, valid=None, states=()):
    """Outputs of a layer and the gradients of sum_k sum(output_k * d_k) for random fixed d_k.

    `valid` (B, T) in the order of the outputs: d_k is 0 at the other steps.
    Returns outputs, d, and the gradients of the inputs (None for ids), the weights, the states.
    """
    wanted = [v.value for v in layer.trainable_variables]
    kwargs = {} if mask is None else {"mask": keras.ops.convert_to_tensor(mask)}
    d = []

    def run(x, states):
        outputs = layer(x, **kwargs, **({"initial_state": states} if states else {}))
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        for o in outputs:
            d.append(grid(rng, *o.shape))
            if valid is not None and len(o.shape) == 3:
                d[-1] *= valid[:, :, None]
        return outputs, sum(keras.ops.sum(o * keras.ops.convert_to_tensor(di, o.dtype))
                            for o, di in zip(outputs, d, strict=True))  # fmt: skip

    real = inputs.dtype.kind == "f"
    x, states = backend.constant(inputs), [backend.constant(s) for s in states]
    with backend.GradientTape() as tape:
        tape.watch([*states] + [x] * real)
        outputs, loss = run(x, states)
    grads = tape.gradient(loss, [*wanted, *states] + [x] * real)
    outputs, grads = ([keras.ops.convert_to_numpy(a) for a in b] for b in (outputs, grads))
    n = len(wanted)
    return outputs, d, grads[-1] if real else None, grads[:n], grads[n : n + len(states)]
