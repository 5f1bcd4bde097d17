"""Missing values: left out, filled, interpolated, predicted, kept; labels that are missing."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.interpolate import CubicSpline

import clstm
from clstm import LSTM, Dense, Sequential, load_model
from clstm.data import Pipeline, StandardScaler, load_transform
from clstm.data.missing import Drop, Fill, Interpolate, Keep, LSTMImputer, Predict
from clstm.losses import (
    CRF,
    CTC,
    CategoricalCrossentropy,
    GaussianNLL,
    IgnoreMissing,
    MeanSquaredError,
    Quantile,
)

N = np.nan
RNG = np.random.default_rng(0)
T = np.arange(240)
WAVE = 2 * np.sin(2 * np.pi * T / 12) + 0.02 * T
A = np.array([[N, 1.0], [2.0, N], [N, N], [N, 4.0], [6.0, N]])


class LeastSquares:
    def fit(self, x, y):
        self.w = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]

    def __repr__(self):
        return str(getattr(self, "w", None))

    def predict(self, x):
        return np.column_stack([x, np.ones(len(x))]) @ self.w


FAST = {"length": 24, "units": 6, "epochs": 2, "seed": 1}
WAYS = {
    "mean": Fill(), "median": Fill("median"), "forward": Fill("forward"), "number": Fill(7.0),
    "linear": Interpolate(), "spline": Interpolate("spline"),
    "seasonal": Interpolate("seasonal", season=12), "lstm": LSTMImputer(**FAST),
    "predicted": Predict(LeastSquares(), (-12, -1, 1, 12)), "kept": Keep(),
    "pipeline": Pipeline([StandardScaler(), Interpolate()]),
}  # fmt: skip
FILLS = [name for name in WAYS if name not in ("kept", "pipeline")]


def copy_of(way):
    return way if isinstance(way, Predict) else type(way).from_config(way.get_config())


def with_gaps(columns=2, share=0.2, seed=0):
    x = np.stack([WAVE + k for k in range(columns)], axis=1)
    x[np.random.default_rng(seed).random(x.shape) < share] = N
    return x


def test_fills_by_hand():
    for by, first, second in (
        ("mean", [4, 2, 4, 4, 6], [1, 2.5, 2.5, 4, 2.5]),
        ("median", [4, 2, 4, 4, 6], [1, 2.5, 2.5, 4, 2.5]),
        ("forward", [4, 2, 2, 2, 6], [1, 1, 1, 4, 4]),
        (-1.0, [-1, 2, -1, -1, 6], [1, -1, -1, 4, -1]),
    ):
        np.testing.assert_array_equal(Fill(by).fit_transform(A).T, [first, second])


def test_left_out_by_hand():
    x = np.array([[1.0, N], [2.0, 3.0], [4.0, 5.0]])
    steps = Drop().fit(x)
    np.testing.assert_array_equal(steps.transform(x), x[1:])
    assert steps.kept(x).tolist() == [False, True, True]
    ragged = steps.transform(np.stack([x, np.ones((3, 2))]))
    assert [len(part) for part in ragged] == [2, 3]
    frame = pd.DataFrame(x, index=list("abc"))
    assert list(steps.transform(frame).index) == ["b", "c"]
    whole = Drop("sequences").fit([x, x[1:]])
    np.testing.assert_array_equal(whole.transform([x, x[1:]])[0], x[1:])
    assert whole.kept([x, x[1:]]).tolist() == [False, True]
    with pytest.raises(ValueError, match="x: expected a sequence without a missing value"):
        whole.transform([x])
    with pytest.raises(ValueError, match="x: expected several sequences with what='sequences'"):
        whole.transform(x)
    assert not steps.has_inverse
    with pytest.raises(NotImplementedError):
        steps.inverse_transform(x)


def test_interpolated_by_hand():
    np.testing.assert_allclose(Interpolate().fit_transform(A).T,
                               [[2, 2, 10 / 3, 14 / 3, 6], [1, 2, 3, 4, 4]])  # fmt: skip
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-11"])
    frame = pd.Series([0.0, N, N, 10.0], days)
    assert Interpolate("time").fit_transform(frame).tolist() == [0, 1, 4, 10]
    y = np.array([N, 1, 4, N, N, 2, 3, N, 0])
    spline = CubicSpline([1, 2, 5, 6, 8], [1, 4, 2, 3, 0], bc_type="natural")
    np.testing.assert_allclose(Interpolate("spline").fit_transform(y), spline([1, *range(1, 9)]))
    only = Interpolate().fit(np.array([[1.0, 2.0], [3.0, N]]))
    np.testing.assert_array_equal(only.transform(np.array([[1.0, N], [N, N]])), [[1, 2], [1, 2]])


def test_a_season_is_filled_where_a_line_cannot():
    x = WAVE.copy()
    x[100:115] = x[5] = x[0] = N
    found = Interpolate("seasonal", season=12).fit_transform(x)
    assert np.abs(found - WAVE)[100:115].max() < 0.05
    assert np.abs(Interpolate().fit_transform(x) - WAVE)[100:115].max() > 1
    short = np.array([1.0, N, 3.0])  # no two seasons: linear
    assert Interpolate("seasonal", season=12).fit(x).transform(short).tolist() == [1, 2, 3]
    assert Interpolate("seasonal", season=3).fit_transform(np.r_[x[:30], N])[5] != N
    never = np.where(T % 12 == 3, N, WAVE)  # a place of the season that is never known
    assert np.isfinite(Interpolate("seasonal", season=12).fit_transform(never)).all()


@pytest.mark.parametrize("name", WAYS)
def test_every_form_and_what_is_known_stays(name):
    x = with_gaps()
    way = copy_of(WAYS[name]).fit(x)
    names = ["a", "b"]
    index = pd.date_range("2000", periods=len(x), freq="W")
    for given in (x, x.astype("f4"), np.stack([x, x]), [x, x[:50]],
                  pd.DataFrame(x, columns=names, index=index), pl.DataFrame(x, schema=names)):
        got = way.transform(given)
        assert type(got) is type(given)
        for before, after in zip(given if isinstance(given, list) else [given],
                                 got if isinstance(got, list) else [got], strict=True):  # fmt: skip
            a, b = np.asarray(before), np.asarray(after)
            assert a.dtype == b.dtype and np.isfinite(b).all()
            if name in FILLS:
                np.testing.assert_array_equal(b[~np.isnan(a)], a[~np.isnan(a)])
    if name in FILLS:
        np.testing.assert_array_equal(way.inverse_transform(x), x)


@pytest.mark.parametrize("name", WAYS)
def test_nothing_of_the_test_part_leaks(name):
    train, test = with_gaps()[:160], with_gaps()[160:]
    way = copy_of(WAYS[name])
    way.fit(train)
    first, state = way.transform(train), str(way.get_state())
    way.transform(100 * test)
    np.testing.assert_array_equal(way.transform(train), first)
    assert str(way.get_state()) == state


@pytest.mark.parametrize("name", [name for name in WAYS if name != "predicted"])
def test_saved_with_a_model(name, tmp_path):
    x = with_gaps()
    way = copy_of(WAYS[name]).fit(x)
    model = Sequential([LSTM(2, input_shape=(4, 2)), Dense(1)])
    model.transforms = {"x": way}
    model.save(tmp_path / "m.safetensors")
    way.save(tmp_path / "w.safetensors")
    for loaded in (load_model(tmp_path / "m.safetensors").transforms["x"],
                   load_transform(tmp_path / "w.safetensors")):  # fmt: skip
        np.testing.assert_array_equal(loaded.transform(x), way.transform(x))


def test_a_model_of_another_library():
    x = WAVE.copy()
    x[60:70] = x[130:137] = N
    way = Predict(LeastSquares(), (-12, 12)).fit(x)
    gaps = np.isnan(x)
    error = np.abs(way.transform(x) - WAVE)[gaps].mean()
    assert error < 0.15 * np.abs(Interpolate().fit_transform(x) - WAVE)[gaps].mean()
    y = np.stack([WAVE, 3 * WAVE - 1], axis=1)
    y[50:70, 1] = N
    np.testing.assert_allclose(Predict(LeastSquares(), ()).fit_transform(y)[:, 1], 3 * WAVE - 1)
    joined = Pipeline([StandardScaler(), Predict(LeastSquares(), (-12, 12))]).fit(x)
    np.testing.assert_allclose(joined.inverse_transform(joined.transform(x)), way.transform(x))
    with pytest.raises(TypeError, match="no JSON form"):
        way.save("nothing")
    with pytest.raises(TypeError, match="estimator: expected an object with fit and predict"):
        Predict(3)
    with pytest.raises(ValueError, match="offsets: expected steps around the missing one, got 0"):
        Predict(LeastSquares(), (0, 1))
    with pytest.raises(ValueError, match="offsets: expected at least one for a single feature"):
        Predict(LeastSquares(), ()).fit(x)


def test_an_lstm_learns_to_fill():
    x = WAVE.copy()
    rng = np.random.default_rng(3)
    for begin in rng.choice(220, 8, replace=False):
        x[begin : begin + 8] = N
    gaps = np.isnan(x)
    way = LSTMImputer(length=48, units=16, epochs=25, learning_rate=0.01, seed=0)
    state = clstm.random.get_state()
    error = np.abs(way.fit_transform(x) - WAVE)[gaps].mean()
    assert clstm.random.get_state() == state
    assert error < 0.4 * np.abs(Interpolate().fit_transform(x) - WAVE)[gaps].mean()
    assert np.isfinite(way.transform(np.array([1.0, N, 2.0]))).all()  # shorter than a window


def test_kept_by_hand():
    got = Keep().fit_transform(A)
    np.testing.assert_array_equal(got.T, [
        [4, 2, 2, 2, 6], [1, 1, 1, 4, 4],  # values
        [0, 1, 0, 0, 1], [1, 0, 0, 1, 0],  # seen
        [0, 1, 1, 2, 3], [0, 1, 2, 3, 1],  # since
    ])  # fmt: skip
    days = pd.to_datetime(["2020-01-01", "2020-01-03", "2020-01-05", "2020-01-11"])
    frame = pd.DataFrame({"a": [1.0, N, N, 4.0]}, index=days)
    got = Keep().fit_transform(frame)
    assert list(got.columns) == ["a", "seen a", "since a"]
    assert got["since a"].tolist() == [0, 1, 2, 5]  # in steps of two days
    np.testing.assert_array_equal(Keep().fit(A).inverse_transform(Keep().fit_transform(A)), A)
    back = Keep().fit(frame).inverse_transform(got)
    assert list(back.columns) == ["a"] and back["a"].isna().tolist() == [False, True, True, False]


def test_streams_are_the_same_step_by_step():
    x = np.stack([with_gaps(3, 0.4, seed) for seed in (1, 2)])
    x[0, :4, 0] = N
    for way in (Fill(), Fill("forward"), Fill(0.5), Keep()):
        whole = way.fit(x).transform(x)
        stream = way.stream(2)
        for t in range(40):
            np.testing.assert_array_equal(stream.step(x[:, t]), whole[:, t])
        with pytest.raises(ValueError, match=r"x: expected shape \(2, 3\), got \(1, 3\)"):
            stream.step(x[:1, 0])
        with pytest.raises(ValueError, match="expected to be fitted before"):
            type(way)().stream()


@pytest.mark.parametrize("name", [name for name in WAYS if name != "number"])
def test_a_column_without_a_value(name):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [N, N, N]})
    way = copy_of(WAYS[name])
    before = way.get_state()
    with pytest.raises(ValueError, match="x: expected a known value in column 'b', got none"):
        way.fit(frame)
    assert str(way.get_state()) == str(before)


def test_times_in_a_zone_and_periods():
    for index in (pd.date_range("2020-03-28", periods=4, tz="Europe/Zurich"),
                  pd.period_range("2020-01", periods=4, freq="M")):  # fmt: skip
        frame = pd.DataFrame({"a": [0.0, N, N, 3.0]}, index=index)
        stamps = (index.tz_convert(None) if hasattr(index, "tz") else index.to_timestamp())
        plain = frame.set_axis(stamps)
        got = Interpolate("time").fit_transform(frame)
        assert (got.index == index).all()
        assert got["a"].tolist() == Interpolate("time").fit_transform(plain)["a"].tolist()
        with pytest.raises(ValueError, match="x: expected times that rise"):
            Keep().fit(frame[::-1])


def test_ways_that_cannot_be():
    for make, words in (
        (lambda: Fill("backward"), "by: expected one of"),
        (lambda: Drop("columns"), "what: expected 'steps' or 'sequences'"),
        (lambda: Interpolate("cubic"), "by: expected one of"),
        (lambda: Interpolate("seasonal"), "season: expected a number with by='seasonal'"),
        (lambda: Interpolate(season=3), "season: expected None with by='linear', got 3"),
        (lambda: Interpolate("seasonal", 1), "season: expected at least 2, got 1"),
        (lambda: LSTMImputer(1), "length: expected at least 2, got 1"),
        (lambda: Interpolate("time").fit(A), "x: expected a pandas frame with an index of times"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    days = pd.to_datetime(["2020-01-02", "2020-01-01"])
    for way in (Interpolate("time"), Keep()):
        with pytest.raises(ValueError, match="x: expected times that rise, got 2020-01-01"):
            way.fit(pd.DataFrame({"a": [1.0, 2.0]}, index=days))
        fitted = way.fit(pd.DataFrame({"a": [1.0, 2.0]}, index=days[::-1]))
        with pytest.raises(ValueError, match=r"x: expected the columns \['a'\], as in fit"):
            fitted.transform(pd.DataFrame({"b": [1.0, 2.0]}, index=days[::-1]))


# --- labels that are missing ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh", "binary_crossentropy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_loss_where_a_label_is_missing(loss, weighted):
    p = RNG.uniform(0.1, 0.9, (3, 5, 2))
    y = (RNG.random((3, 5, 2)) < 0.5).astype(float)
    y[RNG.random(y.shape) < 0.4] = N
    w = RNG.uniform(0.5, 2, (3, 5)) if weighted else None
    mask = RNG.random((3, 5)) < 0.8
    value, d = IgnoreMissing(loss).value_and_gradient(y, p, w, mask)
    known = ~np.isnan(y) & mask[..., None]
    each = clstm.losses.get(loss)
    rows = [(each(y[k][None], p[k][None]), each.value_and_gradient(y[k][None], p[k][None])[1][0],
             1.0 if w is None else w[k[:2]])
            for k in zip(*np.nonzero(known), strict=True)]  # fmt: skip
    np.testing.assert_allclose(value, sum(v * f for v, _, f in rows) / len(rows), rtol=1e-6)
    np.testing.assert_allclose(d[known], np.array([g * f for _, g, f in rows]) / len(rows),
                               rtol=1e-5)  # fmt: skip
    assert (d[~known] == 0).all()


@pytest.mark.parametrize("loss", [Quantile([0.1, 0.5, 0.9]), GaussianNLL()])
def test_no_loss_of_distributions_where_a_label_is_missing(loss):
    count = loss._count
    p, y = RNG.normal(size=(4, 2 * count)), RNG.normal(size=(4, 2))
    y[[0, 2, 2], [1, 0, 1]] = N
    value, d = IgnoreMissing(loss).value_and_gradient(y, p)
    parts = p.reshape(4, count, 2)
    known = [loss.value_and_gradient(y[r, None, None, f], parts[r, :, f][None])
             for r, f in np.argwhere(~np.isnan(y))]  # fmt: skip
    np.testing.assert_allclose(value, np.mean([v for v, _ in known]), rtol=1e-12)
    for (r, f), (_, g) in zip(np.argwhere(~np.isnan(y)), known, strict=True):
        np.testing.assert_allclose(d.reshape(4, count, 2)[r, :, f], g[0] / 5, rtol=1e-12)
    assert (d.reshape(4, count, 2)[[0, 2, 2], :, [1, 0, 1]] == 0).all()


@pytest.mark.parametrize("loss", [
    "mse", "mae", Quantile([0.1, 0.5, 0.9]), GaussianNLL(), "poisson", "cosine_similarity", "kld",
    "categorical_crossentropy", "binary_crossentropy",
], ids=str)  # fmt: skip
@pytest.mark.parametrize("labels", [1, 3])
def test_labels_that_are_all_known_have_the_losses_own_mean(loss, labels):
    loss = clstm.losses.get(loss)
    p = RNG.uniform(0.1, 0.9, (4, 5, labels * getattr(loss, "_count", 1)))
    y, w, mask = RNG.uniform(0, 1, (4, 5, labels)), RNG.random((4, 5)), RNG.random((4, 5)) < 0.7
    for more in ((), (w,), (w, mask)):
        value, d = IgnoreMissing(loss).value_and_gradient(y, p, *more)
        want, gradient = loss.value_and_gradient(y, p, *more)
        assert value == pytest.approx(want, rel=1e-12)
        np.testing.assert_allclose(d, gradient, rtol=1e-12)


def test_the_loss_of_an_epoch_does_not_depend_on_where_labels_are_missing():
    x, y = RNG.normal(size=(64, 3, 2)), RNG.normal(size=(64, 1))
    y[20:] = N
    model = Sequential([LSTM(3, input_shape=(3, 2)), Dense(1)])
    model.compile("adam", IgnoreMissing("mse"), metrics=["mse"])
    whole = model.evaluate(x, y, batch_size=64, verbose=0)
    assert whole[0] == pytest.approx(whole[1])
    assert model.evaluate(x, y, batch_size=16, verbose=0) == pytest.approx(whole)


def test_windows_of_vectors_with_missing_labels_count_as_the_whole_sequence():
    x = RNG.normal(size=(2, 6, 2)).astype("f4")
    y = np.eye(3)[RNG.integers(0, 3, (2, 6))]
    y[0, [1, 4], 2] = y[1, 3, 0] = N
    losses = []
    for bptt in (None, (4, 6)):
        clstm.set_seed(1)
        model = Sequential([LSTM(3, return_sequences=True, input_shape=(6, 2)),
                            Dense(3, activation="softmax")])  # fmt: skip
        model.compile(clstm.optimizers.SGD(1e-9), IgnoreMissing("categorical_crossentropy"))
        losses += model.fit(x, y, bptt=bptt, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_vectors_with_a_missing_label_are_left_out_as_a_whole():
    p = RNG.dirichlet(np.ones(3), 4)
    y = np.eye(3)[[0, 1, 2, 0]]
    y[1, 2] = N
    value, d = IgnoreMissing(CategoricalCrossentropy()).value_and_gradient(y, p)
    rest = [0, 2, 3]
    want, gradient = CategoricalCrossentropy().value_and_gradient(y[rest], p[rest])
    assert value == pytest.approx(want) and (d[1] == 0).all()
    np.testing.assert_allclose(d[rest], gradient)


def test_nothing_known_is_no_loss():
    value, d = IgnoreMissing("mse").value_and_gradient(np.full((2, 3), N), np.ones((2, 3)))
    assert value == 0 and (d == 0).all()
    for loss in (CTC(), CRF(), "sparse_categorical_crossentropy", None, IgnoreMissing("mse")):
        with pytest.raises(TypeError, match="loss: expected a loss whose labels are numbers"):
            IgnoreMissing(loss)
    with pytest.raises(ValueError, match="y_true has NaN labels"):
        MeanSquaredError()(np.full((2, 3), N), np.ones((2, 3)))


@pytest.mark.parametrize("bptt", [None, (2, 4)])
def test_a_model_learns_from_what_is_known(bptt, tmp_path):
    x = RNG.normal(size=(8, 6, 2)).astype("f4")
    y = x.sum(axis=2, keepdims=True).cumsum(axis=1)
    gaps = RNG.random(y.shape) < 0.4
    missing = np.where(gaps, N, y)

    def learn(labels, loss, weight=None):
        clstm.set_seed(1)
        model = Sequential([LSTM(3, return_sequences=True, input_shape=(6, 2)), Dense(1)])
        model.compile("sgd", loss, metrics=["mae"], weighted_metrics=["mae"])
        history = model.fit(x, labels, sample_weight=weight, epochs=2, batch_size=8, verbose=0,
                            bptt=bptt).history  # fmt: skip
        return model, history

    model, history = learn(missing, IgnoreMissing("mse"))
    known = (~gaps[..., 0]).astype(float)
    factor = known.size / known.sum()  # weights leave the divisor as it is
    if bptt is None:
        other, expected = learn(y, "mse", known * factor)
        for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
        np.testing.assert_allclose(history["mae"], expected["weighted_mae"], rtol=1e-5)
    assert history["mae"] == pytest.approx(history["weighted_mae"])
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.evaluate(x, missing, verbose=0) == model.evaluate(x, missing, verbose=0)
