"""Cells and gates as outputs, and learned initial states."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, functional

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
RESETS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]], bool)
ALL = {"return_sequences": True, "return_state": True, "return_cells": True, "return_gates": True}


@pytest.mark.parametrize("backend", ["native", "blas", "numpy"])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("resets", [None, RESETS])
@pytest.mark.parametrize("mask", [None, MASK, np.zeros((3, 4), bool)])
def test_the_equations_hold(rng, backend, time_major, reverse, resets, mask):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    weights = [rng.normal(size=s).astype(np.float32) for s in ((2, 76), (19, 76), (76,))]
    c = rng.normal(size=(3, 19)).astype(np.float32)
    x = np.swapaxes(x, 0, 1) if time_major else x
    y, (_, last), tape = functional.lstm_forward(
        x, *weights, initial_state=(None, c), mask=mask, resets=resets, reverse=reverse,
        time_major=time_major, backend=backend)  # fmt: skip
    cells, gates = functional.lstm_gates(tape)
    assert cells.shape == y.shape and gates.shape == (*y.shape[:2], 76)
    assert cells.dtype == gates.dtype == np.float32
    if time_major:
        y, cells, gates = (np.swapaxes(a, 0, 1) for a in (y, cells, gates))
    i, f, g, o = np.split(gates, 4, axis=-1)
    np.testing.assert_allclose(y, o * np.tanh(cells), atol=1e-6)
    for t in range(4)[:: -1 if reverse else 1]:
        if resets is not None and (t < 3 or not reverse):
            c = np.where(resets[:, t + reverse, None], 0, c)
        valid = np.ones((3, 1), bool) if mask is None else mask[:, t, None]
        new = np.where(valid, f[:, t] * c + i[:, t] * g[:, t], 0)
        np.testing.assert_allclose(cells[:, t], new, atol=1e-6)
        c = np.where(valid, new, c)
    np.testing.assert_allclose(c, last, atol=1e-6)


def test_of_tapes_that_have_none():
    x, weights = np.zeros((3, 4, 2)), (np.ones((2, 8), np.float32), np.ones((2, 8)))
    _, _, tape = functional.lstm_forward(x, *weights)
    functional.lstm_backward(tape)
    with pytest.raises(ValueError, match="tape: expected one that no lstm_backward has used"):
        functional.lstm_gates(tape)
    with pytest.raises(TypeError, match="tape: expected what lstm_forward gave, got NoneType"):
        functional.lstm_gates(None)
    _, _, tape = functional.lstm_forward(x, *weights, checkpoint_every=2)
    if tape.backend.__name__.endswith("_native_backend"):
        with pytest.raises(ValueError, match=r"tape: .*without checkpoint_every"):
            functional.lstm_gates(tape)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_outputs(rng, training, backwards):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = LSTM(5, go_backwards=backwards, **ALL)
    y, h, c, cells, gates = layer(x, mask=MASK, training=training)
    assert layer.compute_output_shape((3, 4, 2)) == [a.shape for a in (y, h, c, cells, gates)]
    _, _, tape = functional.lstm_forward(x, *layer.weights, mask=MASK, reverse=backwards)
    wanted = functional.lstm_gates(tape)
    order = slice(None, None, -1 if backwards else 1)
    np.testing.assert_array_equal(cells[:, order], wanted[0])
    np.testing.assert_array_equal(gates[:, order], wanted[1])
    h2, gates2 = LSTM(5, return_gates=True)(x)
    assert h2.shape == (3, 5) and gates2.shape == (3, 4, 20)


def test_of_two_directions_are_aligned(rng):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    layer = Bidirectional(LSTM(5, **ALL))
    outputs = layer(x)
    assert [a.shape for a in outputs] == layer.compute_output_shape((3, 4, 2))
    y, _, _, _, _, _, _, cells, gates = outputs
    np.testing.assert_allclose(y[..., 5:], gates[..., 15:] * np.tanh(cells), atol=1e-6)
    single = Bidirectional(LSTM(5, return_cells=True))
    h, _, backward = single(x)
    _, tape = single.forward(x)
    assert backward.shape == (3, 4, 5)
    dx = single.backward(tape, [np.ones_like(h), None, None])
    assert dx.shape == x.shape


def test_no_gradient_flows_through_them(differences, rng):
    x = rng.normal(size=(3, 4, 2))
    layer, plain = LSTM(3, **ALL, **D), LSTM(3, return_sequences=True, **D)
    plain(x), layer(x)
    plain.set_weights(layer.get_weights())
    dy = rng.normal(size=(3, 4, 3))
    (_, tape), (_, other) = layer.forward(x), plain.forward(x)
    dx = layer.backward(tape, [dy, None, None, None, np.zeros((3, 4, 12))])
    np.testing.assert_array_equal(dx, plain.backward(other, dy))
    _, tape = layer.forward(x)
    with pytest.raises(ValueError, match="d_outputs: expected None for cells and gates"):
        layer.backward(tape, [dy, None, None, dy, None])


def test_as_outputs_of_a_model(rng, tmp_path):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    source = clstm.Input((4, 2))
    h, cells, gates = LSTM(3, return_cells=True, return_gates=True)(source)
    model = clstm.Model(source, [clstm.Dense(1)(h), cells, gates])
    trained = clstm.Model(source, model.outputs[0])
    trained.compile("sgd", "mse")
    trained.fit(x, x[:, 0, :1], verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    for a, b in zip(again.predict(x), model.predict(x), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="checkpoint_every: expected None with return_cells"):
        LSTM(3, return_cells=True, checkpoint_every=2)
    with pytest.raises(ValueError, match="activity_regularizer: expected None with return_cells"):
        LSTM(3, return_gates=True, activity_regularizer="l2")


@pytest.mark.parametrize("options", [{}, {"projection": 2, "return_sequences": True}])
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("wrap", [lambda layer: layer, Bidirectional])
def test_gradients_of_learned_initial_states(differences, rng, options, mask, wrap):
    layer = wrap(LSTM(4, learn_initial_state=True, return_state=True, **options, **D))
    differences(layer, rng.normal(size=(3, 4, 2)), mask)
    assert [w.shape for w in layer.weights[-2:]] == [(options.get("projection", 4),), (4,)]


def test_gradients_of_learned_initial_states_and_resets(differences, rng):
    layer = LSTM(4, learn_initial_state=True, return_sequences=True, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), MASK, resets=RESETS)


def test_learned_initial_states_stand_where_none_is_given(rng, tmp_path):
    x = rng.normal(size=(3, 4, 2)).astype(np.float32)
    model = clstm.Sequential([LSTM(5, learn_initial_state=True, stateful=True,
                                   input_shape=(None, 2)), clstm.Dense(1)])  # fmt: skip
    layer = model.layers[0]
    h0, c0 = layer.params["initial_h"], layer.params["initial_c"]
    assert not h0.any() and not c0.any()
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=3, verbose=0)
    assert h0.all() and c0.all()  # they were trained
    weights = layer.get_weights()[:3]
    state = np.tile(h0, (3, 1)), np.tile(c0, (3, 1))
    model.reset_states()
    wanted, (h, c) = functional.lstm(x, *weights, initial_state=state)
    np.testing.assert_array_equal(layer(x), h)
    wanted, (h, c) = functional.lstm(x, *weights, initial_state=(h, c))
    np.testing.assert_array_equal(layer(x), h)
    _, (h, c) = functional.lstm(x, *weights)
    np.testing.assert_array_equal(layer(x, initial_state=[np.zeros((3, 5))] * 2), h)
    model.reset_states()
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    wanted = model.predict(x)
    np.testing.assert_array_equal(again.predict(x), wanted)
    stream = model.stream(3)
    for _ in range(2):
        stream.step(x[:, 1])
        stream.reset([0, 2])
        stream.reset()
        np.testing.assert_array_equal(stream.state[0][0], state[0])
        for t in range(4):
            y = stream.step(x[:, t])
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
