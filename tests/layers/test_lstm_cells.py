"""The layer LSTM made of other cells: slstm, minlstm, rnn."""

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, Dense, Sequential, functional

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
RESETS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]], bool)
CELLS = {
    "slstm": {"cell": "slstm", "num_heads": 2},
    "exponential": {"cell": "slstm", "recurrent_activation": "exponential"},
    "minlstm": {"cell": "minlstm"},
    "rnn": {"cell": "rnn"},
    "relu": {"cell": "rnn", "activation": "relu", "use_bias": False},
}
STATES = {"slstm": 4, "exponential": 4, "minlstm": 1, "rnn": 1, "relu": 1}
FUNCTIONS = {"slstm": functional.slstm, "minlstm": functional.minlstm, "rnn": functional.rnn}
each = pytest.mark.parametrize("name", CELLS)


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 4, 2)).astype(np.float32)


@each
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients(differences, rng, name, backwards, sequences, mask):
    layer = LSTM(4, go_backwards=backwards, return_sequences=sequences, **CELLS[name], **D)
    differences(layer, rng.normal(size=(3, 4, 2)), mask, resets=RESETS)


@pytest.mark.parametrize("name", ["minlstm", "rnn", "relu"])
@pytest.mark.parametrize("wrap", [lambda layer: layer, Bidirectional])
def test_gradients_of_states(differences, rng, name, wrap):
    layer = wrap(LSTM(4, return_state=True, **CELLS[name], **D))
    count = 2 if isinstance(layer, Bidirectional) else 1
    differences(layer, [rng.normal(size=(3, 4, 2)), *rng.normal(size=(count, 3, 4))], MASK)
    layer = wrap(LSTM(4, learn_initial_state=True, **CELLS[name], **D))
    differences(layer, rng.normal(size=(3, 4, 2)), MASK)


@pytest.mark.parametrize("name", ["slstm", "exponential"])
@pytest.mark.parametrize("wrap", [lambda layer: layer, Bidirectional])
def test_the_slstm_learns_where_it_begins(differences, rng, name, wrap):
    layer = wrap(LSTM(4, learn_initial_state=True, **CELLS[name], **D))
    x = rng.normal(size=(3, 4, 2))
    differences(layer, x, MASK)
    one = LSTM(4, learn_initial_state=True, **CELLS[name], **D)
    one.ensure_built(x.shape)
    assert one.params["initial_c"].shape == one.params["initial_h"].shape == (4,)
    one.params["initial_c"][:] = 2
    state = [np.zeros((3, 4)), np.full((3, 4), 2.0), np.ones((3, 4)), np.zeros((3, 4))]
    np.testing.assert_array_equal(one(x), one([x, *state]))


@pytest.mark.parametrize("name", ["slstm", "exponential"])
def test_gradients_of_the_slstms_initial_states(rng, name):
    """Of h, c, n with m held; from the outputs alone, for m scales the c and n that are given."""
    layer = LSTM(4, return_state=True, **CELLS[name], **D)
    x, h, c = rng.normal(size=(3, 4, 2)), *rng.normal(size=(2, 3, 4))
    inputs = [x, h, c, rng.random((3, 4)) + 0.5, rng.normal(size=(3, 4)) * 0.1]
    layer(x)
    _, tape = layer.forward(inputs)
    d = rng.normal(size=(3, 4))
    gradients = layer.backward(tape, [d, None, None, None, None])
    assert gradients[4] is None
    for array, gradient in zip(inputs[:4], gradients, strict=False):
        direction, ends, kept = rng.normal(size=array.shape), [], array.copy()
        for sign in (1, -1):
            array[...] = kept + sign * 1e-5 * direction
            ends.append((layer.forward(inputs)[0][0] * d).sum())
        array[...] = kept
        wanted = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose((gradient * direction).sum(), wanted, rtol=1e-6)
    _, tape = layer.forward(inputs)
    with pytest.raises(ValueError, match="d_outputs: expected None for m, through which no"):
        layer.backward(tape, [d, None, None, None, d])


@each
@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.3}, {"recurrent_dropout": 0.4}, {"recurrent_dropconnect": 0.4},
        {"num_layers": 2, "residual": True, "layer_dropout": 0.3, "dropout": 0.2},
        {"dropout": 0.4, "dropout_per_step": True},
    ],
)  # fmt: skip
def test_gradients_of_options(differences, rng, name, options):
    if name == "minlstm" and any(key.startswith("recurrent") for key in options):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected 0.0 with cell='min"):
            LSTM(4, **CELLS[name], **options)
        return
    layer = LSTM(4, **CELLS[name], **options, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), MASK, True, resets=RESETS,
                before=lambda: clstm.set_seed(3))  # fmt: skip


@each
def test_is_that_of_the_functions(x, name):
    layer = LSTM(6, return_sequences=True, return_state=True, **CELLS[name])
    y, *state = layer(x, mask=MASK, resets=RESETS)
    cell = layer.cell
    options = {"forget_activation": layer.recurrent_activation} if cell == "slstm" else {}
    if cell == "rnn":
        options = {"activation": layer.activation}
    wanted, final = FUNCTIONS[cell](x, **layer.params, mask=MASK, resets=RESETS, **options)
    np.testing.assert_array_equal(y, wanted)
    assert len(state) == STATES[name]
    for a, b in zip(state, final, strict=True):
        np.testing.assert_array_equal(a, b)
    again = layer(x, initial_state=state)
    wanted, _ = FUNCTIONS[cell](x, **layer.params, initial_state=final, **options)
    np.testing.assert_array_equal(again[0], wanted)
    assert layer.compute_output_shape(x.shape) == [a.shape for a in again]


def test_first_weights(x):
    layer = LSTM(6, cell="slstm", num_heads=2)
    layer(x)
    kernel, recurrent, bias = layer.get_weights()
    assert kernel.shape == (2, 24) and recurrent.shape == (2, 3, 12)
    for head in recurrent:
        np.testing.assert_allclose(head @ head.T, np.eye(3), atol=1e-5)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 6))
    layer = LSTM(6, cell="minlstm")
    layer(x)
    assert [w.shape for w in layer.weights] == [(2, 18), (18,)]
    np.testing.assert_array_equal(layer.params["bias"], np.repeat([0, 1, 0], 6))
    layer = LSTM(6, cell="rnn")
    layer(x)
    assert [w.shape for w in layer.weights] == [(2, 6), (6, 6), (6,)]
    assert not layer.params["bias"].any()


@each
def test_stateful_saved_and_streamed(x, name, tmp_path):
    layer = LSTM(6, num_layers=2, stateful=True, input_shape=(None, 2), **CELLS[name])
    model = Sequential([layer, Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
    model.reset_states()
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    assert again.layers[0].get_config() == layer.get_config()
    assert CELLS[name].items() <= layer.get_config().items()
    wanted = model.predict(x)
    np.testing.assert_array_equal(again.predict(x), wanted)
    model.reset_states()
    stream = model.stream(3)
    for t in range(4):
        y = stream.step(x[:, t])
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
    assert [len(s) for s in stream.state] == [STATES[name]] * 2
    stream.state = stream.state
    layer(x[:, :2])
    np.testing.assert_allclose(model(x[:, 2:]), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "gru"}, "cell: expected one of lstm, slstm, minlstm, rnn, got 'gru'"),
        ({"cell": "slstm", "peephole": True}, "peephole: expected False with cell='slstm', got Tr"),
        ({"cell": "slstm", "activation": "relu"}, "activation: expected 'tanh' with cell='slstm'"),
        ({"cell": "slstm", "recurrent_activation": "relu"}, "recurrent_activation: .*exponential"),
        ({"cell": "slstm", "num_heads": 4}, "num_heads: expected a divisor of the 6 units, got 4"),
        ({"cell": "rnn", "zoneout_h": 0.1}, "zoneout_h: expected 0.0 with cell='rnn', got 0.1"),
        ({"cell": "rnn", "checkpoint_every": 8}, "checkpoint_every: expected None with cell='rnn'"),
        ({"cell": "minlstm", "return_gates": True}, "return_gates: expected False with cell='min"),
        ({"cell": "rnn", "recurrent_dropout": 0.1, "dropout_per_step": True}, "dropout_per_step: "),
        ({"cell": "slstm", "recurrent_constraint": "max_norm"}, "recurrent_constraint: expected N"),
        ({"cell": "rnn", "memory_budget": 10**6}, "memory_budget: expected None with cell='rnn'"),
        ({"num_heads": 2}, "num_heads: expected 1 with cell='lstm', got 2"),
    ],
)
def test_options_of_other_cells_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LSTM(6, **options)


def test_pack_and_directions(x):
    model = Sequential([LSTM(6, cell="minlstm"), Dense(1)])
    model.predict(x)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="one LSTM with cell='lstm' or 'rnn', got none"):
        clstm.gradient_health(model, x, x[:, 0, :1])
    for cell in ("rnn", "minlstm"):
        with pytest.raises(ValueError, match="bias_initializer: expected one for other gates"):
            LSTM(6, cell=cell, bias_initializer=clstm.initializers.Chrono(9))
    with pytest.raises(ValueError, match="cell: expected 'lstm' for pack, got 'rnn'"):
        LSTM(6, cell="rnn").pack()
    with pytest.raises(ValueError, match=r"backward_layer: .*cell"):
        Bidirectional(LSTM(2), backward_layer=LSTM(2, cell="rnn", go_backwards=True))
    with pytest.raises(ValueError, match=r"initial_state: expected 1 \(h\), got"):
        LSTM(6, cell="rnn")(np.zeros((1, 2, 3)), initial_state=[np.zeros((1, 6))] * 2)
