"""Truncated backpropagation through time: windows of k1 steps, gradients through k2."""

import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    Add,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Layer,
    LayerNormalization,
    Masking,
    Model,
    Sequential,
    TimeDistributed,
)
from clstm.losses import SparseCategoricalCrossentropy
from clstm.optimizers import SGD, Adam

RNG = np.random.default_rng(0)
B, T, I = 3, 12, 4
X = RNG.normal(size=(B, T, I))
Y = RNG.normal(size=(B, T, 2))


def network(dtype="float64", loss="mse", optimizer=None, metrics=None, masking=False, **options):
    """Two LSTMs with a residual connection, and two outputs of each step."""
    clstm.set_seed(5)
    x = Input((None, I), dtype=dtype)
    h = Masking(9.0, dtype=dtype)(x) if masking else x
    a = LSTM(6, return_sequences=True, dtype=dtype, **options)(h)
    b = LSTM(6, return_sequences=True, dtype=dtype, **options)(a)
    y = Dense(2, dtype=dtype)(LayerNormalization(dtype=dtype)(Add(dtype=dtype)([a, b])))
    model = Model(x, y)
    model.compile(optimizer or still(), loss, metrics=metrics)
    return model


def still():
    """An optimizer whose steps change nothing, and that shows the gradients of each."""
    optimizer = SGD(1e-300)
    optimizer.seen = []
    apply = optimizer.apply

    def seen(grads, params, weights):
        optimizer.seen.append(grads.copy())
        apply(grads, params, weights)

    optimizer.apply = seen
    return optimizer


def gradients(model, x, y, weight=None, bptt=None):
    """The gradients of each update, and the loss."""
    model.optimizer.seen.clear()
    loss = model.train_on_batch(x, y, weight, bptt=bptt)
    return np.array(model.optimizer.seen), loss


def indicator(begin, end):
    inside = np.zeros((B, T))
    inside[:, begin:end] = 1
    return inside


def same_weights(one, two):
    return [w.tobytes() for w in one.get_weights()] == [w.tobytes() for w in two.get_weights()]


# --- gradients and states ----------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(T, T), (T, 2 * T), (100, 100)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_window_is_the_ordinary_step(pair, dtype):
    models = [network(dtype, optimizer="adam", metrics=["mae"], dropout=0.2) for _ in range(2)]
    for _ in range(3):
        clstm.set_seed(2)
        wanted = models[0].train_on_batch(X, Y)
        clstm.set_seed(2)
        assert models[1].train_on_batch(X, Y, bptt=pair) == wanted
    assert same_weights(*models)


@pytest.mark.parametrize(("k1", "k2"), [(1, T), (3, T), (4, T), (6, T), (5, T + 5), (10, T + 10)])
@pytest.mark.parametrize("weighted", [None, "rows", "steps"])
def test_full_history_gives_the_gradient_of_the_masked_loss(k1, k2, weighted):
    model = network()
    weight = {None: np.ones((B, T)), "rows": RNG.random(B)[:, None] * np.ones(T),
              "steps": RNG.random((B, T))}[weighted]  # fmt: skip
    given = {None: None, "rows": weight[:, 0], "steps": weight}[weighted]
    windows, loss = gradients(model, X, Y, given, bptt=(k1, k2))
    begins = range(0, T, k1)
    assert len(windows) == len(begins)
    total = 0.0
    for begin, got in zip(begins, windows, strict=True):
        (wanted,), part = gradients(model, X, Y, weight * indicator(begin, begin + k1))
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-15)
        total += part
    assert loss == pytest.approx(total, rel=1e-12)
    assert loss == pytest.approx(gradients(model, X, Y, given)[1], rel=1e-12)
    np.testing.assert_allclose(windows.sum(0), gradients(model, X, Y, given)[0][0], rtol=1e-10,
                               atol=1e-15)  # fmt: skip


@pytest.mark.parametrize(("k1", "k2"), [(1, 3), (3, 3), (3, 4), (3, 5), (2, 7), (4, 10), (5, 6)])
def test_a_window_begins_from_the_state_of_the_steps_before(k1, k2):
    """The gradient is that of a stateful model that has read what lies before the window's run."""
    model, other = network(), network(stateful=True)
    windows, _ = gradients(model, X, Y, bptt=(k1, k2))
    for got, begin in zip(windows, range(0, T, k1), strict=True):
        start, end = max(0, begin - (k2 - k1)), min(T, begin + k1)
        other.reset_states()
        if start:
            other.predict_on_batch(X[:, :start])
        weight = indicator(begin, end)[:, start:end] * (end - start) / T
        (wanted,), _ = gradients(other, X[:, start:end], Y[:, start:end], weight)
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-15)


class Seen(clstm.losses.MeanSquaredError):
    """Keeps the outputs that it was called with."""

    def __init__(self):
        self.parts = []

    def _terms(self, t, p):
        self.parts.append(p)
        return super()._terms(t, p)


@pytest.mark.parametrize("pair", [(3, 3), (3, 7), (1, 1), (5, T), (1, 2)])
def test_the_windows_outputs_are_those_of_the_whole_sequence(pair):
    seen = Seen()
    model = network(loss=seen)
    model.train_on_batch(X, Y, bptt=pair)
    got = np.concatenate(seen.parts, axis=1)
    np.testing.assert_allclose(got, model.predict(X), rtol=1e-12, atol=1e-14)


@pytest.mark.skipif(clstm.functional.backend_module("auto", np.dtype("f4")).__name__
                    != "clstm._native_backend", reason="needs the native backend")  # fmt: skip
@pytest.mark.parametrize("pair", [(3, 3), (3, 7), (1, 2)])
def test_windows_of_the_native_backend_have_the_same_bits(pair):
    seen = Seen()
    model = Sequential([LSTM(20, input_shape=(None, I), return_sequences=True),
                        LSTM(2, return_sequences=True)])  # fmt: skip
    model.compile(still(), seen)
    model.train_on_batch(X, Y, bptt=pair)
    np.testing.assert_array_equal(np.concatenate(seen.parts, axis=1), model.predict(X))


def test_masked_steps_count_as_in_the_whole_sequence():
    x = X.copy()
    x[0, 4:] = x[1, :2] = x[2, 7] = 9  # masked
    y = Y.copy()
    y[0, 4:] = np.nan
    model = network(masking=True)
    for bptt in ((3, T), (4, T), (1, T)):
        windows, loss = gradients(model, x, y, bptt=bptt)
        (wanted,), whole = gradients(model, x, y)
        assert loss == pytest.approx(whole, rel=1e-12)
        np.testing.assert_allclose(windows.sum(0), wanted, rtol=1e-10, atol=1e-15)


def test_classes_that_are_ignored_count_as_in_the_whole_sequence():
    clstm.set_seed(0)
    model = Sequential([Embedding(7, 4, mask_zero=True), LSTM(5, return_sequences=True), Dense(7)])
    model.compile(still(), SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1),
                  metrics=["accuracy"])  # fmt: skip
    ids = RNG.integers(0, 7, (B, T))
    y = RNG.integers(-1, 7, (B, T))
    windows, (loss, _) = gradients(model, ids, y, bptt=(2, T))
    (wanted,), (whole, _) = gradients(model, ids, y)
    assert loss == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(windows.sum(0), wanted, rtol=1e-4, atol=1e-7)


def test_a_mask_that_is_an_input_and_several_outputs():
    x, mask = Input((None, I), dtype="float64"), Input((None,))
    y = LSTM(5, return_sequences=True, dtype="float64")(x, mask=mask)
    model = Model([x, mask], [Dense(1, dtype="float64")(y), Dense(2, dtype="float64")(y)])
    model.compile(still(), ["mse", "mae"], loss_weights=[2, 0.5], metrics=[["mae"], ["mse"]])
    valid = RNG.random((B, T)) < 0.6
    data = [X, valid], [Y[..., :1], Y]
    windows, logs = gradients(model, *data, bptt=(3, T))
    (wanted,), whole = gradients(model, *data)
    np.testing.assert_allclose(logs, whole, rtol=1e-10)
    np.testing.assert_allclose(windows.sum(0), wanted, rtol=1e-10, atol=1e-15)


def test_penalties_sum_up_to_those_of_one_step():
    options = {"kernel_regularizer": "l1_l2", "activity_regularizer": "l2"}
    model = network(**options)
    windows, loss = gradients(model, X, Y, bptt=(4, 4))
    assert loss == pytest.approx(gradients(model, X, Y)[1], rel=1e-12)
    plain = network()
    (without,) = gradients(plain, X, Y, bptt=(4, 4))[0].sum(0)[None]
    assert np.abs(windows.sum(0) - without).max() > 1e-3
    kernels = [network(kernel_regularizer="l1_l2"), network()]
    extra = np.subtract(*(gradients(m, X, Y, bptt=(4, 6))[0].sum(0) for m in kernels))
    wanted = np.subtract(*(gradients(m, X, Y)[0][0] for m in kernels))
    np.testing.assert_allclose(extra, wanted, rtol=1e-8, atol=1e-12)


def test_stateful_layers_go_on_from_batch_to_batch_and_others_begin_anew():
    carried, anew = network(stateful=True), network()
    for model in (carried, anew):
        model.train_on_batch(X, Y, bptt=(3, 5))
    reference = network(stateful=True)
    reference.predict_on_batch(X)
    for layer, wanted in zip(carried.layers, reference.layers, strict=True):
        if isinstance(layer, LSTM):
            np.testing.assert_allclose(layer.state, wanted.state, rtol=1e-10)
    assert all(m.state is None and not m.carries_state for m in anew.layers if type(m) is LSTM)
    np.testing.assert_allclose(carried.predict_on_batch(X), reference.predict_on_batch(X))


# --- fit ---------------------------------------------------------------------------------------


def test_history_and_metrics_are_as_usual():
    y = (Y > 0).astype(float)
    for last in ("accuracy", "auc", "precision", "recall"):
        model = network(loss="bce", metrics=["mae", "accuracy", last])
        data = np.tile(X, (3, 1, 1)), np.tile(y, (3, 1, 1))
        options = {"batch_size": 4, "shuffle": False, "verbose": 0, "validation_data": (X, y)}
        wanted = model.fit(*data, **options).history
        history = model.fit(*data, bptt=(4, 7), **options).history
        assert history.keys() == wanted.keys()
        for name, values in wanted.items():
            assert history[name] == pytest.approx(values, rel=1e-8), name


def test_weighted_metrics_see_the_weights_of_their_steps():
    model = network()
    model.compile(still(), "mse", weighted_metrics=["mae"])
    for weight in (RNG.random(B), RNG.random((B, T)), RNG.random((B, 1))):
        wanted = model.train_on_batch(X, Y, weight)
        assert model.train_on_batch(X, Y, weight, bptt=(4, 4)) == pytest.approx(wanted, rel=1e-10)


def test_fit_on_an_iterable_updates_once_a_window():
    model = network(optimizer="adam")
    model.fit(iter([(X, Y), (X[:2, :5], Y[:2, :5])]), steps_per_epoch=2, bptt=(2, 4), verbose=0)
    assert model.optimizer.iterations == 6 + 3
    with pytest.raises(ValueError, match="y: expected shape"):
        model.fit(iter([(X, Y[:, 0])]), bptt=(2, 4), verbose=0)


def test_a_loss_that_is_no_number_stops_before_the_update():
    model = network(optimizer="adam")
    y = Y.copy()
    y[:, 6:] = np.inf
    with pytest.raises(FloatingPointError, match="in step 3"):
        model.train_on_batch(X, y, bptt=(3, 3))
    assert model.optimizer.iterations == 2
    assert all(layer.state is None for layer in model.layers if isinstance(layer, LSTM))
    model.train_on_batch(X, Y)


@pytest.mark.parametrize("bptt", [(5, 5), (5, 10)])
def test_it_learns_to_copy_what_it_saw_some_steps_ago(bptt):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, (64, 40, 1)).astype("f4")
    y = np.roll(x, 3, axis=1)
    y[:, :3] = 0
    clstm.set_seed(0)
    model = Sequential([LSTM(16, input_shape=(None, 1), return_sequences=True),
                        Dense(1, activation="sigmoid")])  # fmt: skip
    model.compile(Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=12, batch_size=16, bptt=bptt, verbose=0).history
    assert history["accuracy"][-1] > 0.95 and history["loss"][-1] < 0.3 * history["loss"][0]
    assert model.evaluate(x, y)[1] > 0.95


# --- what it does not take ---------------------------------------------------------------------


class Own(Layer):
    def forward(self, inputs, training=False, mask=None):
        return inputs, None


def chain(*layers):
    model = Sequential([Input((T, I)), *layers])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("bptt", "error", "message"),
    [
        ((4, 3), ValueError, "expected k1 <= k2, got 4 > 3"),
        ((0, 3), ValueError, r"bptt\[0\]: expected at least 1"),
        ((2.0, 3), TypeError, r"bptt\[0\]: expected an int, got float"),
        ((2, "3"), TypeError, r"bptt\[1\]: expected an int, got str"),
        ((True, 3), TypeError, r"bptt\[0\]: expected an int, got bool"),
        ((2,), ValueError, r"expected a pair \(k1, k2\)"),
        (5, ValueError, r"expected a pair \(k1, k2\)"),
    ],
)
def test_pairs_that_are_none(bptt, error, message):
    model = network(optimizer="adam")
    before = model.get_weights()
    for call in (model.fit, model.train_on_batch):
        with pytest.raises(error, match=message):
            call(X, Y, bptt=bptt)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Bidirectional(LSTM(3, return_sequences=True))], "Bidirectional '.*': not one of LSTM"),
        ([LSTM(3)], "LSTM '.*': outputs without a time axis"),
        ([LSTM(3, return_sequences=True, go_backwards=True)], "go_backwards reads from the end"),
        ([LSTM(3, return_sequences=True), Flatten(), Dense(2)], "Flatten '.*': not one of"),
        ([Own(), LSTM(3, return_sequences=True)], "Own '.*': not one of"),
        ([Dense(3), Masking(), LSTM(3, return_sequences=True)], "masks have to come from"),
        ([LSTM(3, return_sequences=True, activity_regularizer="l2")], "activity_regularizer"),
    ],
)
def test_layers_that_do_not_read_step_by_step(layers, message):
    model = chain(*layers)
    before = model.get_weights()
    y = np.zeros((B, *model.outputs[0].shape[1:]))
    for call in (lambda: model.fit(X, y, bptt=(3, 4), verbose=0),
                 lambda: model.train_on_batch(X, y, bptt=(3, 4))):  # fmt: skip
        with pytest.raises(ValueError, match=f"bptt: expected layers that read.*{message}"):
            call()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_graphs_that_do_not_read_step_by_step():
    x = Input((T, I))
    sequence = LSTM(I, return_sequences=True)
    states = LSTM(3, return_sequences=True, return_state=True)
    graphs = [
        (Model(x, sequence(sequence(x))), "used more than once"),
        (Model(x, states(x)[0]), "states as inputs or outputs"),
        (Model(x, Concatenate(axis=1)([x, sequence(x)])), "axis is that of time"),
        (Model([x, n := Input((1,))], LSTM(3, return_sequences=True)(x, mask=n)),
         r"mask has to be an input \(B, T\)"),
    ]  # fmt: skip
    for model, message in graphs:
        model.compile("sgd", "mse")
        inputs = [X, np.ones((B, 1))] if len(model.inputs) > 1 else X
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(inputs, np.zeros((B, *model.outputs[0].shape[1:])), bptt=(3, 3))
    inner = Sequential([Input((T, 2, I)), TimeDistributed(LSTM(3, stateful=True))])
    inner.compile("sgd", "mse")
    with pytest.raises(ValueError, match="expected stateful layers in the model itself"):
        inner.train_on_batch(np.zeros((B, T, 2, I)), np.zeros((B, T, 3)), bptt=(3, 3))


def test_arrays_without_a_time_axis():
    model = network()
    for y in (Y[:, 0], Y[:, :4], Y[:, 0, 0]):
        with pytest.raises(ValueError, match=r"y: expected shape \(B, 12, ...\), with a time axis"):
            model.fit(X, y, bptt=(2, 3), verbose=0)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(B, 12, ...\)"):
        model.train_on_batch(X, Y, np.ones((B, 4)), bptt=(2, 3))


def test_dropout_is_drawn_for_each_window_and_runs():
    model = network(optimizer="adam", dropout=0.3, recurrent_dropout=0.3)
    model.fit(X, Y, bptt=(3, 6), verbose=0)
    deep = chain(Dropout(0.5), LSTM(3, return_sequences=True), TimeDistributed(Dense(2)))
    deep.fit(X, Y, bptt=(3, 6), verbose=0)
    assert all(np.isfinite(w).all() for m in (model, deep) for w in m.get_weights())
