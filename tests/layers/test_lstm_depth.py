"""num_layers, residual, layer_dropout: LSTMs on top of each other in one layer."""

import itertools

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, Dense, Dropout, Sequential, functional

D = {"dtype": "float64"}
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]], bool)
RESETS = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]], bool)
NAMES = "h, c, h, c"


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 4, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("sequences", "state", "residual", "backwards", "mask"),
    [*itertools.product([False, True], [False, True], [False, True], [False, True], [None, MASK])],
)
def test_gradients(differences, rng, sequences, state, residual, backwards, mask):
    layer = LSTM(3, num_layers=3, residual=residual, return_sequences=sequences,
                 return_state=state, go_backwards=backwards, **D)  # fmt: skip
    differences(layer, rng.normal(size=(3, 4, 2)), mask)


@pytest.mark.parametrize(
    "options",
    [
        {"units": [5, 2, 3]},
        {"units": [5, 2, 4], "projection": 3, "residual": True, "peephole": True},
        {"units": 3, "layer_dropout": 0.4, "residual": True, "return_sequences": True},
        {
            "units": 3, "layer_dropout": 0.3, "dropout": 0.2, "recurrent_dropout": 0.2,
            "zoneout_h": 0.2, "recurrent_dropconnect": 0.3, "learn_initial_state": True,
            "layer_norm": "gate",
        },
    ],
)  # fmt: skip
@pytest.mark.parametrize("mask", [None, MASK])
def test_gradients_of_options(differences, rng, options, mask):
    layer = LSTM(num_layers=3, return_state=True, **options, **D)
    differences(layer, rng.normal(size=(3, 4, 2)), mask, True, resets=RESETS,
                before=lambda: clstm.set_seed(3))  # fmt: skip


@pytest.mark.parametrize("residual", [False, True])
def test_gradients_of_initial_states(differences, rng, residual):
    layer = LSTM(3, num_layers=2, residual=residual, return_state=True, **D)
    differences(layer, [rng.normal(size=s) for s in ((3, 4, 2), *[(3, 3)] * 4)], MASK)
    layer = Bidirectional(LSTM([3, 2], num_layers=2, return_state=True, **D))
    sizes = [(3, 3), (3, 3), (3, 2), (3, 2)] * 2
    differences(layer, [rng.normal(size=s) for s in ((3, 4, 2), *sizes)], MASK)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_is_one_layer_after_the_other(x, backwards, residual, mask):
    layer = LSTM(5, num_layers=2, residual=residual, go_backwards=backwards, return_sequences=True,
                 return_state=True, return_cells=True, return_gates=True)  # fmt: skip
    one, two = (LSTM(5, return_sequences=True, return_state=True, return_cells=True,
                     return_gates=True, go_backwards=backwards) for _ in range(2))  # fmt: skip
    outputs = layer(x, mask=mask)
    weights = layer.get_weights()
    assert [w.shape for w in weights] == [(2, 20), (5, 20), (20,), (5, 20), (5, 20), (20,)]
    one(x), two(np.zeros((1, 1, 5)))
    one.set_weights(weights[:3]), two.set_weights(weights[3:])
    a, *inside1 = one(x, mask=mask)
    order = slice(None, None, -1 if backwards else 1)
    b, *inside2 = two(a[:, order], mask=mask)
    if residual:
        b = b + a
    (h1, c1, cells1, gates1), (h2, c2, cells2, gates2) = inside1, inside2
    wanted = [b, h1, c1, h2, c2, cells1, cells2, gates1, gates2]
    for got, want in zip(outputs, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert layer.compute_output_shape(x.shape) == [a.shape for a in outputs]
    short = LSTM(5, num_layers=2, residual=residual, go_backwards=backwards)
    short(x)
    short.set_weights(weights)
    np.testing.assert_array_equal(short(x, mask=mask), h1 + h2 if residual else h2)


def test_dropout_between_layers(x):
    layer = LSTM(5, num_layers=2, layer_dropout=0.4)
    layer(x)
    chain = Sequential([LSTM(5, return_sequences=True), Dropout(0.4), LSTM(5)])
    chain.predict(x)
    chain.set_weights(layer.get_weights())
    clstm.set_seed(1)
    y = layer(x, training=True)
    clstm.set_seed(1)
    np.testing.assert_array_equal(y, chain(x, training=True))
    np.testing.assert_array_equal(layer(x), chain(x))
    assert (y != layer(x)).any()


def test_training_is_that_of_a_chain(x):
    one = Sequential([LSTM([5, 4], num_layers=2, input_shape=(4, 2), kernel_regularizer="l2",
                           recurrent_constraint="max_norm"), Dense(1)])  # fmt: skip
    options = {"kernel_regularizer": "l2", "recurrent_constraint": "max_norm"}
    chain = Sequential([LSTM(5, return_sequences=True, input_shape=(4, 2), **options),
                        LSTM(4, **options), Dense(1)])  # fmt: skip
    chain.set_weights(one.get_weights())
    for model in (one, chain):
        model.compile("adam", "mse")
        clstm.set_seed(5)
        model.fit(x, x[:, 0, :1], epochs=3, verbose=0)
    for a, b in zip(one.get_weights(), chain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bptt", [(2, 2), (2, 3)])
def test_windows_are_those_of_a_chain(x, bptt):
    one = Sequential([LSTM(5, num_layers=2, return_sequences=True, input_shape=(4, 2)), Dense(1)])
    chain = Sequential([LSTM(5, return_sequences=True, input_shape=(4, 2)),
                        LSTM(5, return_sequences=True), Dense(1)])  # fmt: skip
    chain.set_weights(one.get_weights())
    for model in (one, chain):
        model.compile("adam", "mse")
        model.fit(x, x[:, :, :1], epochs=2, verbose=0, bptt=bptt, shuffle=False)
        assert model.layers[0].state is None
    for a, b in zip(one.get_weights(), chain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{"checkpoint_every": 2}, {"memory_budget": "1MB"}])
def test_keeps_states_in_each_layer(rng, options):
    x = rng.normal(size=(3, 700, 2)).astype(np.float32)
    layer, plain = LSTM(5, num_layers=2, **options), LSTM(5, num_layers=2)
    if functional.backend_module("native", np.dtype("f4")).__name__.endswith("_blas_backend"):
        pytest.skip("this CPU has no instruction set with native kernels")
    plain(x), layer(x)
    plain.set_weights(layer.get_weights())
    gradients = []
    for made in (layer, plain):
        y, tape = made.forward(x, True)
        made.backward(tape, np.ones_like(y))
        gradients.append([d for part in made.walk() for d in part.grads.values()])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradient_health_tells_of_each_layer(x):
    model = Sequential([LSTM(5, num_layers=2, residual=True, name="deep"), Dense(1)])
    chain = Sequential([LSTM(5, return_sequences=True), LSTM(5), Dense(1)])
    for made in (model, chain):
        made.predict(x)
        made.compile("sgd", "mse")
    report = clstm.gradient_health(model, x, x[:, 0, :1])
    assert [layer.name for layer in report.layers] == ["deep", "deep/deep_layer_2"]
    report = clstm.gradient_health(chain, x, x[:, 0, :1])
    deep = Sequential([LSTM(5, num_layers=2), Dense(1)])
    deep.predict(x)
    deep.set_weights(chain.get_weights())
    deep.compile("sgd", "mse")
    for a, b in zip(clstm.gradient_health(deep, x, x[:, 0, :1]).layers, report.layers,
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a.dc, b.dc)


def test_weights_can_be_kept_from_training(x):
    model = Sequential([LSTM(5, num_layers=2, trainable=False), Dense(1)])
    layer = model.layers[0]
    for trainable in (False, True):
        layer.trainable = trainable
        model.compile("sgd", "mse")
        before = model.predict(x) is not None and layer.get_weights()
        model.fit(x, x[:, 0, :1], verbose=0)
        for now, then in zip(layer.get_weights(), before, strict=True):
            assert (now != then).any() == trainable


@pytest.mark.parametrize("wrap", [lambda layer: layer, Bidirectional])
def test_is_saved(x, tmp_path, wrap):
    layer = wrap(LSTM([6, 4], num_layers=2, layer_dropout=0.3, learn_initial_state=True))
    model = Sequential([layer, Dense(1)])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=2, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = clstm.load_model(tmp_path / "m.safetensors")
    assert again.layers[0].get_config() == layer.get_config()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    for made in (model, again):  # the optimizer's state is there too
        clstm.set_seed(4)
        made.fit(x, x[:, 0, :1], verbose=0)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_stateful_goes_on(x):
    layer, whole = (LSTM(5, num_layers=2, residual=True, stateful=s) for s in (True, False))
    whole(x), layer(x)
    layer.reset_state()
    layer.set_weights(whole.get_weights())
    layer(x[:, :2])
    np.testing.assert_allclose(layer(x[:, 2:]), whole(x), atol=1e-6)
    assert len(layer.state) == 4
    model = Sequential([layer])
    model.predict(x)
    model.reset_states()
    assert layer.state is None


@pytest.mark.parametrize("residual", [False, True])
def test_streams(x, residual):
    model = Sequential([LSTM(5, num_layers=3, residual=residual, input_shape=(None, 2)), Dense(1)])
    stream = model.stream(3)
    for t in range(4):
        y = stream.step(x[:, t])
    np.testing.assert_allclose(y, model.predict(x), rtol=0, atol=1e-6)
    assert len(stream.state) == 3
    stream.state = stream.state


def test_symbols(x):
    source = clstm.Input((4, 2))
    layer = LSTM([5, 3], num_layers=2, return_state=True)
    _, *states = layer(source)
    y = LSTM([5, 3], num_layers=2)(source, initial_state=states)
    model = clstm.Model(source, y)
    assert model.predict(x).shape == (3, 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTM([3, 4], num_layers=1), ValueError, r"each of 1 layers, got \[3, 4\]"),
        (lambda: LSTM([3, 4.0], num_layers=2), TypeError, r"units\[1\]: expected an int"),
        (lambda: LSTM(3, num_layers=10**9), ValueError, "num_layers: expected at most 1000"),
        (lambda: LSTM(3, num_layers=0), ValueError, "num_layers: expected at least 1"),
        (lambda: LSTM([3, 4], num_layers=2, residual=True), ValueError,
         r"residual: expected layers of one size, got \[3, 4\]"),
        (lambda: LSTM(3, residual="no"), TypeError, "residual: .*True or False"),
        (lambda: LSTM(3, layer_dropout=1.0), ValueError, "layer_dropout: "),
        (lambda: LSTM(3, num_layers=2).pack(), ValueError, "num_layers: expected 1 for pack"),
        (lambda: LSTM(3, num_layers=2)(np.zeros((1, 2, 3)), initial_state=[np.zeros((1, 3))] * 2),
         ValueError, rf"initial_state: expected 4 \({NAMES}\)"),
        (lambda: LSTM([3, 2], num_layers=2)(np.zeros((1, 2, 3)),
                                            initial_state=[np.zeros((1, 3))] * 4),
         ValueError, r"initial_state\[2\]: expected shape \(1, 2\), got \(1, 3\)"),
        (lambda: LSTM(3, num_layers=2).forward([np.zeros((1, 2, 3))] * 2), ValueError,
         rf"initial_state of lstm.*: expected 4 arrays \({NAMES}\), got 1"),
        (lambda: Bidirectional(LSTM(3, num_layers=2), backward_layer=LSTM(3, go_backwards=True)),
         ValueError, "backward_layer: .*num_layers"),
    ],
)  # fmt: skip
def test_wrong_uses(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_list_of_units_says_how_many_layers():
    assert LSTM([3, 4]).num_layers == 2
    assert LSTM.from_config(LSTM([3, 4]).get_config()).sizes == [3, 4]
