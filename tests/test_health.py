"""gradient_health: norms against finite differences, verdicts, and a model that stays as it is."""

import builtins
import copy
import pickle

import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Input,
    Masking,
    Model,
    Sequential,
    gradient_health,
)
from clstm import functional as F
from clstm.layers import TimeDistributed
from clstm.layers._single import cell_options

D = {"dtype": "float64"}
LENGTHS = np.array([6, 1, 4])
MASK = np.arange(6) < LENGTHS[:, None]
GAPS = np.array([[1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 1, 0], [0, 1, 0, 0, 1, 1]], bool)


def data(batch=3, time=6, features=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, time, features)), rng.normal(size=(batch, 1))


def chain(*layers, shape=(6, 2), dtype="float64"):
    clstm.set_seed(1)
    model = Sequential([*layers, Dense(1, dtype=dtype)])
    model.build((None, *shape))
    model.compile("sgd", "mse")
    return model


def norms(gradient):
    """Of a (B, H): the mean of the rows' Euclidean norms."""
    return np.linalg.norm(gradient, axis=1).mean()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def loss_with(weights, peephole, x, y, place=None, added=None):
    """The loss of LSTM, Dense and mse by its equations, with `added` to h or c of step t."""
    kernel, recurrent, bias, dense, dense_bias = weights
    units = len(recurrent)
    h = c = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        zi, zf, zg, zo = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(zf + peephole[1] * c) * c + sigmoid(zi + peephole[0] * c) * np.tanh(zg)
        if place == ("c", t):
            c = c + added
        h = sigmoid(zo + peephole[2] * c) * np.tanh(c)
        if place == ("h", t):
            h = h + added
    return ((h @ dense + dense_bias - y) ** 2).mean()


@pytest.mark.parametrize("peephole", [False, True])
def test_norms_are_those_of_finite_differences(peephole):
    x, y = data()
    model = chain(LSTM(3, peephole=peephole, **D))
    weights = model.get_weights()
    p = np.zeros((3, 3))
    if peephole:
        p = weights.pop(3)
        p[...] = np.random.default_rng(2).normal(size=p.shape)
        model.layers[0].params["peephole"][...] = p
    report = gradient_health(model, x, y)
    (layer,) = report.layers
    assert report.loss == pytest.approx(loss_with(weights, p, x, y), rel=1e-12)
    for name, found in (("h", layer.dh), ("c", layer.dc)):
        for t in range(6):
            gradient = np.zeros((3, 3))
            for place in np.ndindex(gradient.shape):
                added = np.zeros((3, 3))
                for sign in (1, -1):
                    added[place] = sign * 1e-5
                    loss = loss_with(weights, p, x, y, (name, t), added)
                    gradient[place] += sign * loss / 2e-5
            assert found[t] == pytest.approx(norms(gradient), rel=1e-7)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"projection": 2, "peephole": True, "proj_clip": 2.0},
        {"coupled_input_forget": True, "cell_clip": 1.0, "return_sequences": True},
        {"layer_norm": "gate", "cell_norm": True, "go_backwards": True},
        {"layer_norm": "joint", "activation": "softsign", "return_sequences": True},
    ],
)
@pytest.mark.parametrize("mask", [None, MASK, GAPS])
def test_dh_of_options_and_masks(options, mask):
    """h_t changes between a run of the steps up to t and one of the others."""
    x, y = data()
    inputs, given = Input((6, 2), dtype="float64"), Input((6,))
    layer = LSTM(3, **options, **D)
    sequences = layer.return_sequences
    head = Dense(1, use_bias=False, **D)
    outputs = head(layer(inputs, mask=given))
    model = Model([inputs, given], outputs)
    model.compile("sgd", "mse")
    y = np.repeat(y[:, None], 6, axis=1) if sequences else y
    mask = np.ones((3, 6), bool) if mask is None else mask
    report = gradient_health(model, [x, mask], y)
    order = slice(None, None, -1) if layer.go_backwards else slice(None)
    x, taken = x[:, order], mask[:, order]
    cell = cell_options(layer)
    weights = [layer.params[name] for name in ("kernel", "recurrent_kernel", "bias")]

    def loss_of(t, added):
        """With `added` to h_t of the rows that take step t."""
        added = added * taken[:, t, None]
        start = slice(0, t + 1)
        ys, (h, c) = F.lstm(x[:, start], *weights, mask=taken[:, start], **cell)
        ys[:, -1] += added
        h = h + added
        if t < 5:
            rest = slice(t + 1, None)
            more, (h, c) = F.lstm(x[:, rest], *weights, mask=taken[:, rest], initial_state=(h, c),
                                  **cell)  # fmt: skip
            ys = np.concatenate([ys, more], axis=1)
        if not sequences:
            return ((h @ head.params["kernel"] - y) ** 2).mean()
        return ((ys @ head.params["kernel"] - y)[taken] ** 2).mean()

    (health,) = report.layers
    np.testing.assert_array_equal(health.rows, taken.sum(axis=0))
    for t in range(6):
        gradient = np.zeros((3, layer.features))
        for place in np.ndindex(gradient.shape):
            added = np.zeros_like(gradient)
            added[place] = 1e-5
            gradient[place] = (loss_of(t, added) - loss_of(t, -added)) / 2e-5
        if taken[:, t].any():
            assert health.dh[t] == pytest.approx(norms(gradient[taken[:, t]]), rel=1e-6)
        else:
            assert np.isnan(health.dh[t]) and np.isnan(health.dc[t])


def test_time_constants_and_gates():
    x, y = data()
    model = chain(LSTM(4, kernel_initializer="zeros", recurrent_initializer="zeros", **D))
    bias = model.layers[0].params["bias"]
    f = [0.5, 0.9, 0.99, 0.01]
    bias[:4] = [-9, -9, 0, 9]
    bias[4:8] = np.log(np.divide(f, np.subtract(1, f)))
    bias[8:] = 0.3
    (layer,) = gradient_health(model, x, y).layers
    np.testing.assert_allclose(layer.time_constants, -1 / np.log(f))
    shares = {"i": (0.5, 0.25), "f": (0.25, 0.25), "o": (0, 0)}
    for gate, (closed, opened) in shares.items():
        np.testing.assert_allclose(layer.closed[gate], np.full(6, closed))
        np.testing.assert_allclose(layer.opened[gate], np.full(6, opened))
    (layer,) = gradient_health(model, x, y, saturated=(0.005, 0.6)).layers
    np.testing.assert_allclose(layer.closed["f"], np.zeros(6))
    np.testing.assert_allclose(layer.opened["f"], np.full(6, 0.5))
    bias[4:6] = [-800, 800]
    (layer,) = gradient_health(model, x, y).layers
    assert layer.time_constants[0] == 0 and layer.time_constants[1] == np.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_forget_gate_alone_sets_factor_and_ratio(dtype):
    """Without W and U, dL/dc_{t-1} is f dL/dc_t."""
    x, y = data(time=50)
    model = chain(LSTM(4, kernel_initializer="zeros", recurrent_initializer="zeros",
                       unit_forget_bias=1.0, dtype=dtype), shape=(50, 2), dtype=dtype)  # fmt: skip
    model.layers[0].params["bias"][8:12] = 1  # else c is 0
    (layer,) = gradient_health(model, x, y).layers
    f = sigmoid(1)
    assert layer.factor == pytest.approx(f, rel=1e-5)
    assert layer.ratio == pytest.approx(f**49, rel=1e-4)
    assert layer.verdict == "vanishes"
    (layer,) = gradient_health(model, x, y, vanishing=1e-9).layers
    assert layer.verdict == "healthy"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"unit_forget_bias": -5.0}, "vanishes"),
        ({"unit_forget_bias": 5.0}, "healthy"),
        ({"bias_initializer": clstm.initializers.Chrono(100, seed=3)}, "healthy"),
    ],
)
def test_verdicts(dtype, options, verdict):
    x, y = data(time=100)
    model = chain(LSTM(16, dtype=dtype, **options), shape=(100, 2), dtype=dtype)
    report = gradient_health(model, x, y)
    (layer,) = report.layers
    assert layer.verdict == verdict
    assert verdict in report.summary()
    assert layer.factor < 0.5 if verdict == "vanishes" else 0.9 < layer.factor < 1.1


@pytest.mark.parametrize(("dtype", "time"), [("float64", 40), ("float32", 40), ("float32", 160)])
def test_a_linear_lstm_whose_recurrent_kernel_is_large_explodes(dtype, time):
    """With gates of 1/2, dc_{t-1} = (1 + scale U^T / 2) / 2 dc_t, U orthogonal."""
    x, y = data(time=time)
    layer = LSTM(4, activation="linear", unit_forget_bias=False, bias_initializer="zeros",
                 kernel_initializer="zeros", dtype=dtype)  # fmt: skip
    model = chain(layer, shape=(time, 2), dtype=dtype)
    u = layer.params["recurrent_kernel"]
    u[...] = 0
    u[:, 8:12] = 6 * np.eye(4)
    (health,) = gradient_health(model, x, y).layers
    assert health.verdict == "explodes"
    if time == 40:
        assert health.factor == pytest.approx(2, rel=1e-5)
        assert health.ratio == pytest.approx(2.0**39, rel=1e-4)
    else:
        assert health.ratio == np.inf


def test_rows_of_different_lengths_are_followed_from_their_own_ends():
    x, y = data(batch=3, time=40)
    model = chain(Masking(**D), LSTM(4, kernel_initializer="zeros", recurrent_initializer="zeros",
                                     **D), shape=(40, 2))  # fmt: skip
    model.layers[1].params["bias"][8:12] = 1
    for row, length in enumerate((40, 10, 20)):
        x[row, length:] = 0
    (layer,) = gradient_health(model, x, y).layers
    assert layer.factor == pytest.approx(sigmoid(1))
    assert layer.ratio == pytest.approx(sigmoid(1) ** 19)  # of the median row
    np.testing.assert_array_equal(layer.rows, [3] * 10 + [2] * 10 + [1] * 20)


def test_padding_does_not_matter():
    x, y = data()
    inputs, lengths = Input((6, 2), dtype="float64"), Input((1,))
    outputs = Dense(1, **D)(Bidirectional(LSTM(3, **D))(inputs, lengths=lengths))
    model = Model([inputs, lengths], outputs)
    model.compile("sgd", "mse")
    a = gradient_health(model, [x, LENGTHS[:, None]], y)
    x[~MASK] = np.nan
    b = gradient_health(model, [x, LENGTHS[:, None]], y)
    assert a.summary() == b.summary()
    for one, two in zip(a.layers, b.layers, strict=True):
        np.testing.assert_array_equal(one.dc, two.dc)
        np.testing.assert_array_equal(one.closed["f"], two.closed["f"])
    np.testing.assert_array_equal(b.layers[1].rows, MASK.sum(axis=0)[::-1])


def test_each_direction_and_each_call_is_a_line_of_its_own():
    x, y = data()
    model = chain(Bidirectional(LSTM(3, return_sequences=True, name="a", **D), name="both"),
                  TimeDistributed(Dense(3, **D)), LSTM(2, name="b", **D))  # fmt: skip
    report = gradient_health(model, x, y)
    assert [layer.name for layer in report.layers] == ["both/a", "both/backward_a", "b"]
    shared = LSTM(3, name="twice", **D)
    one, two = Input((6, 2), dtype="float64"), Input((4, 2), dtype="float64")
    model = Model([one, two], Dense(1, **D)(clstm.Add(**D)([shared(one), shared(two)])))
    model.compile("sgd", "mse")
    report = gradient_health(model, [x, x[:, :4]], y)
    assert [layer.name for layer in report.layers] == ["twice", "twice, call 2"]
    assert [len(layer.dh) for layer in report.layers] == [6, 4]


def test_layers_that_do_not_train_are_followed_too():
    x, y = data()
    model = chain(LSTM(3, return_sequences=True, **D), LSTM(3, **D))
    wanted = gradient_health(model, x, y).layers
    for layer in model.layers:
        layer.trainable = False
    model.compile("sgd", "mse")
    for a, b in zip(wanted, gradient_health(model, x, y).layers, strict=True):
        np.testing.assert_array_equal(a.dc, b.dc)
    assert not any(layer.trainable for layer in model.layers)


def test_no_gradient():
    x, y = data()
    model = chain(LSTM(3, **D))
    model.layers[1].params["kernel"][...] = 0
    (layer,) = gradient_health(model, x, y).layers
    assert layer.verdict == "no gradient" and not layer.dc.any()
    assert np.isnan(layer.factor) and np.isnan(layer.ratio)


@pytest.mark.parametrize("backend", ["auto", "numpy"])
def test_the_model_stays_as_it_is(backend):
    x, y = data()
    clstm.set_seed(3)
    layers = [Bidirectional(LSTM(3, stateful=True, return_sequences=True, dropout=0.3)),
              Dropout(0.4), LSTM(4, stateful=True, recurrent_dropout=0.2, trainable=False),
              Dense(1, kernel_regularizer="l2")]  # fmt: skip
    model = Sequential(layers)
    model.build((3, 6, 2))
    model.compile("adam", "mse", metrics=["accuracy"])
    model.fit(x, y, batch_size=3, epochs=2, verbose=0)
    clstm.config.set_backend(backend)
    try:

        def everything():
            parts = [part for layer in model.layers for part in layer.walk()]
            return pickle.dumps([
                model.get_weights(), model._parameters.grads, model._parameters.values,
                clstm.random.get_state(), vars(model.optimizer),
                [(part.trainable, part.name, getattr(part, "state", None),
                  getattr(part, "options", None)) for part in parts],
                [set(vars(part)) for part in parts], model.history.history,
                clstm.config.get_backend(), model._objective.results(),
            ])  # fmt: skip

        before = copy.deepcopy(everything())
        objective, executor = model._objective, model._executor
        parts = [part for layer in model.layers for part in layer.walk()]
        homes = [part.home for part in parts]
        first = gradient_health(model, x, y)
        again = gradient_health(model, x, y)
        with pytest.raises(ValueError, match="rows"):
            gradient_health(model, x[:2], y[:2])  # the stateful layers carry 3 rows
        assert everything() == before
        assert model._objective is objective and model._executor is executor
        assert all(a is part.home for a, part in zip(homes, parts, strict=True))
        assert first.loss == again.loss
        np.testing.assert_array_equal(first.layers[2].dh, again.layers[2].dh)
    finally:
        clstm.config.set_backend("auto")


def test_the_loss_is_that_of_evaluate():
    x, y = data(batch=5)
    model = chain(LSTM(3, activity_regularizer="l2", kernel_regularizer="l1", **D))
    weights = np.arange(5.0)
    assert gradient_health(model, x, y, weights).loss == pytest.approx(
        model.evaluate(x, y, sample_weight=weights), rel=1e-12
    )


def test_bad_input():
    x, y = data()
    good = chain(LSTM(3, **D))
    new = Sequential([LSTM(3), Dense(1)])
    new.compile("sgd", "mse")
    plain = Sequential([Dense(1, input_shape=(2,))])
    plain.compile("sgd", "mse")
    raw = Sequential([LSTM(3, input_shape=(6, 2))])
    for error, words, arguments, options in (
        (TypeError, "model: expected a Sequential or a Model, got LSTM", (LSTM(3), x, y), {}),
        (ValueError, "model: expected a built one", (new, x, y), {}),
        (ValueError, "model: expected a compiled one", (raw, x, y), {}),
        (ValueError, "model: expected at least one LSTM", (plain, x[:, 0], y), {}),
        (ValueError, "y: expected labels, got None", (good, x, None), {}),
        (ValueError, "x: expected at least one row", (good, x[:0], y[:0]), {}),
        (ValueError, r"x: expected shape \(any, 6, 2\)", (good, x[:, :5], y), {}),
        (ValueError, "y: expected 3 rows", (good, x, y[:2]), {}),
        (ValueError, "saturated: expected a pair", (good, x, y), {"saturated": 0.1}),
        (ValueError, r"saturated\[1\]: .* > 0.9, got 0.1", (good, x, y), {"saturated": (0.9, 0.1)}),
        (ValueError, "vanishing: .* < 1, got 1", (good, x, y), {"vanishing": 1}),
        (ValueError, "exploding: .* > 1, got 0.5", (good, x, y), {"exploding": 0.5}),
        (FloatingPointError, "the loss of the batch is nan", (good, x * np.nan, y), {}),
    ):
        with pytest.raises(error, match=words):
            gradient_health(*arguments, **options)
    assert not new.built


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    x, y = data()
    model = chain(LSTM(3, return_sequences=True, **D), Bidirectional(LSTM(3, **D)))
    path = tmp_path / "health.png"
    figure = gradient_health(model, x, y).plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 9
    assert len(gradient_health(model, x, y).plot().axes) == 9


@pytest.mark.parametrize("case", ["one step", "no gradient", "infinite", "masked", "all masked"])
def test_the_picture_of_odd_reports(tmp_path, case):
    pytest.importorskip("matplotlib")
    time = 1 if case == "one step" else 6
    x, y = data(time=time)
    model = chain(Masking(**D), LSTM(3, **D), shape=(time, 2))
    if case == "no gradient":
        model.layers[2].params["kernel"][...] = 0
    elif case == "infinite":
        model.layers[1].params["bias"][3:6] = [800, -800, 1]
    elif "masked" in case:
        x[:, : 2 if case == "masked" else 6] = 0
    report = gradient_health(model, x, y)
    if case in ("no gradient", "all masked"):
        assert report.layers[0].verdict == "no gradient"
    report.plot(tmp_path / "odd.svg")
    assert (tmp_path / "odd.svg").stat().st_size > 0
    assert ("nan" in report.summary()) == (case in ("one step", "no gradient", "all masked"))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, tmp_path):
    x, y = data()
    report = gradient_health(chain(LSTM(3, **D)), x, y)
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"clstm-cpu\[plot\]"):
        report.plot(tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_an_rnn_is_followed_by_its_h_alone():
    x, y = data()
    model = chain(LSTM(3, cell="rnn", **D))
    (found,) = gradient_health(model, x, y).layers
    kernel, recurrent, bias, dense, _ = model.get_weights()
    h, states = np.zeros((3, 3)), []
    for t in range(6):
        h = np.tanh(x[:, t] @ kernel + h @ recurrent + bias)
        states.append(h)
    dh = 2 / 3 * (model.predict(x) - y) @ dense.T
    for t in reversed(range(6)):
        np.testing.assert_allclose(found.dh[t], norms(dh), rtol=1e-12)
        dh = dh * (1 - states[t] ** 2) @ recurrent.T
    assert (found.dc == found.dh).all() and found.time_constants.size == 0
    assert found.closed == found.opened == {} and found.verdict == "healthy"
    assert " -  " in gradient_health(model, x, y).summary().splitlines()[4]


@pytest.mark.parametrize("scale, verdict", [(0.3, "vanishes"), (1.0, "healthy"), (3.0, "explodes")])
def test_verdicts_of_a_linear_rnn(scale, verdict):
    x, y = data(time=30)
    layer = LSTM(4, cell="rnn", activation="linear", **D)
    model = chain(layer, shape=(30, 2))
    model.set_weights([model.get_weights()[0], scale * np.eye(4), *model.get_weights()[2:]])
    health = gradient_health(model, x, y)
    assert health.layers[0].verdict == verdict
    np.testing.assert_allclose(health.layers[0].factor, scale, rtol=1e-9)


def test_the_picture_of_an_rnn(tmp_path):
    model = chain(LSTM(3, cell="rnn", return_sequences=True, **D), LSTM(3, **D))
    gradient_health(model, *data()).plot(tmp_path / "health.png")
    assert (tmp_path / "health.png").stat().st_size > 5000
