import itertools

import numpy as np
import pytest

from clstm import LSTM, Bidirectional, Dense, TimeDistributed, functional

D = {"dtype": "float64"}
MASK = np.arange(4) < np.array([[4], [0], [2]])
MODES = ["concat", "sum", "mul", "ave", None]


@pytest.mark.parametrize(
    ("mode", "sequences", "state", "mask"),
    [*itertools.product(MODES, [False, True], [False, True], [None, MASK])],
)
def test_gradients(differences, rng, mode, sequences, state, mask):
    layer = Bidirectional(LSTM(3, return_sequences=sequences, return_state=state, **D), mode)
    differences(layer, rng.normal(size=(3, 4, 2)), mask)


def test_gradients_of_initial_states(differences, rng):
    layer = Bidirectional(LSTM(3, return_state=True, **D))
    states = [rng.normal(size=(3, 3)) for _ in range(4)]
    differences(layer, [rng.normal(size=(3, 4, 2)), *states], MASK)


@pytest.mark.parametrize("mode", MODES)
def test_is_two_layers(rng, mode):
    x = rng.normal(size=(3, 4, 2))
    layer = Bidirectional(LSTM(3, return_sequences=True, return_state=True, **D), mode)
    outputs = layer(x, mask=MASK)
    weights = layer.weights
    a, (h1, c1) = functional.lstm(x, *weights[:3], mask=MASK)
    b, (h2, c2) = functional.lstm(x, *weights[3:], mask=MASK, reverse=True)
    merged = {"concat": [np.concatenate([a, b], -1)], "sum": [a + b], "mul": [a * b],
              "ave": [(a + b) / 2], None: [a, b]}[mode]  # fmt: skip
    wanted = [*merged, h1, c1, h2, c2]
    assert [o.shape for o in outputs] == [w.shape for w in wanted]
    for got, want in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_of_time_distributed_rows(differences, rng):
    """Sequences of sequences: an inner pass over words, an outer one over sentences."""
    inner = TimeDistributed(Bidirectional(LSTM(2, **D)))
    y, = differences(inner, rng.normal(size=(2, 3, 4, 2)))
    assert y.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Bidirectional(Dense(2)), TypeError, "layer: .*LSTM.*Dense"),
        (lambda: Bidirectional(LSTM(2), "max"), ValueError, "merge_mode: .*'max'"),
        (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(3, go_backwards=True)), ValueError,
         "backward_layer: .*units"),
        (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2)), ValueError,
         "backward_layer: .*go_backwards"),
        (lambda: Bidirectional(LSTM(2))(np.zeros((1, 2, 3)), initial_state=[np.zeros((1, 2))] * 2),
         ValueError, "initial_state: expected 4 .*h, c, h, c"),
        (lambda: Bidirectional(LSTM(2, activity_regularizer="l2")), ValueError,
         "layer: .*activity_regularizer"),
        (lambda: TimeDistributed(Dense(2, activity_regularizer="l2")), ValueError,
         "layer: .*activity_regularizer"),
        (lambda: Bidirectional(LSTM(2))(np.zeros((2, 3))), ValueError, "3 dimensions"),
    ],
)  # fmt: skip
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()
