"""`resets` of a call: positions at which the state becomes 0 before the step."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, functional
from clstm.layers.recurrent import Recurrent

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
RESETS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]], bool)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients(differences, rng, sequences, backwards, mask):
    layer = LSTM(4, return_sequences=sequences, return_state=True, go_backwards=backwards, **D)
    inputs = [rng.normal(size=s) for s in ((3, 4, 2), (3, 4), (3, 4))]
    differences(layer, inputs, mask, resets=RESETS)


@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients_of_two_directions(differences, rng, mask):
    layer = Bidirectional(LSTM(3, return_sequences=True, zoneout_h=0.3, **D))
    differences(layer, rng.normal(size=(3, 4, 2)), mask, True, resets=RESETS,
                before=lambda: clstm.set_seed(2))  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
def test_are_those_of_the_functions(rng, training):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = LSTM(5, return_sequences=True)
    y = layer(x, resets=RESETS, lengths=[4, 0, 3], training=training)
    wanted, _ = functional.lstm(x, *layer.weights, resets=RESETS, lengths=[4, 0, 3])
    np.testing.assert_array_equal(y, wanted)
    both = Bidirectional(layer)
    y = both(x, resets=RESETS.astype(int), training=training)
    a, _ = functional.lstm(x, *both.weights[:3], resets=RESETS)
    b, _ = functional.lstm(x, *both.weights[3:], resets=RESETS, reverse=True)
    np.testing.assert_array_equal(y, np.concatenate([a, b], axis=-1))


def test_a_stateful_layer_forgets_at_them(rng):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = LSTM(5, stateful=True)
    layer(x)
    y = layer(x, resets=np.array([[1, 0, 0, 0]] * 3))
    layer.reset_state()
    np.testing.assert_array_equal(y, layer(x))


class Copy(Recurrent):
    state_names = ()

    def forward(self, inputs, training=False, mask=None):
        return inputs, None


def test_wrong_uses():
    x = np.zeros((3, 4, 2))
    with pytest.raises(ValueError, match=r"resets: expected shape \(3, 4\), got \(3, 3\)"):
        LSTM(2)(x, resets=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="resets: expected booleans, or 0 and 1, got 2"):
        Bidirectional(LSTM(2))(x, resets=np.full((3, 4), 2))
    with pytest.raises(TypeError, match="resets: expected None, for a Copy takes none, got nd"):
        Copy()(x, resets=RESETS)
    with pytest.raises(TypeError, match="resets: expected None beside symbols, got ndarray"):
        LSTM(2)(clstm.Input((4, 2)), resets=RESETS)
