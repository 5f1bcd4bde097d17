"""The forecasting kit: baselines by hand, what forecasters learn, intervals, backtests."""

import numpy as np
import pandas as pd
import pytest

import clstm
from clstm.data import Difference, Transform
from clstm.data.missing import Fill as Filled
from clstm.data.missing import Keep, Predict
from clstm.forecast import Drift, Forecaster, Naive, SeasonalNaive, backtest
from clstm.forecast.cutting import split
from clstm.forecast.series import quantile_of_scores

T = np.arange(260)
WAVE = 0.05 * T + np.sin(2 * np.pi * T / 12)
NOISY = WAVE + 0.1 * np.random.default_rng(0).normal(size=len(T))
FAST = {"epochs": 12, "units": 12, "seed": 1}
WELL = {"epochs": 80, "units": 16, "batch_size": 32, "learning_rate": 0.01, "seed": 1}


@clstm.register("transform")
class Doubled(Transform):
    """Linear between what is known, times 2: `has_inverse` without filling back."""

    def _apply(self, table):
        def fill(part):
            out = part.copy()
            for column in out.T:
                known = np.isfinite(column)
                column[...] = 2 * np.interp(np.arange(len(column)), np.flatnonzero(known),
                                            column[known])  # fmt: skip
            return out

        return table.map(fill)

    def _undo(self, table):
        return table.map(lambda part: part / 2)


# --- baselines ---------------------------------------------------------------------------------


def test_baselines_by_hand():
    y = np.array([1.0, 2, 4, 8, 3, 5, 7, 6])
    assert Naive(3).fit(y).predict(y).values.tolist() == [6, 6, 6]
    assert SeasonalNaive(3, 2).fit(y).predict(y).values.tolist() == [7, 6, 7]
    np.testing.assert_allclose(Drift(2).fit(y).predict(y).values, [6 + 5 / 7, 6 + 10 / 7])
    gaps = np.array([np.nan, 2, 4, 6, 3, 5, 7, np.nan])
    assert Naive(2).fit(gaps).predict(gaps).values.tolist() == [7, 7]
    assert SeasonalNaive(2, 2).fit(gaps).predict(gaps).values.tolist() == [7, 7]
    np.testing.assert_allclose(Drift(2).fit(gaps).predict(gaps).values, [7 + 2, 7 + 3])


def test_intervals_of_a_baseline_are_its_past_errors():
    y = np.array([0.0, 1, 0, 2, 0, 3, 0, 4, 0])
    found = Naive(1, interval=0.5).fit(y).predict(y)  # errors 1 1 2 2 3 3 4 4: the 5th of 8
    assert (found.lower, found.values, found.upper) == (-3, 0, 3)
    two = Naive(2).fit([y, y]).predict([y, y[:4]])
    assert [f.values.tolist() for f in two] == [[0, 0], [2, 2]]


def test_scores_of_conformal_intervals():
    gaps = np.array([[1.0, np.nan], [3.0, 5.0], [2.0, np.nan]])  # of 3 and of 1
    assert quantile_of_scores(gaps, 0.5).tolist() == [2, 5]
    scores = np.random.default_rng(0).permutation(99)[:, None]
    assert quantile_of_scores(scores, 0.9) == 89  # the 90th of 99
    assert quantile_of_scores(scores[:5], 0.9) == scores[:5].max()
    rng = np.random.default_rng(1)  # a next score lies below with at least that probability
    below = [rng.random() <= quantile_of_scores(rng.random((19, 1)), 0.8)[0] for _ in range(4000)]
    assert 0.78 < np.mean(below) < 0.82


# --- forecasters -------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", ["quantiles", "gaussian", "student_t", "point"])
def test_a_wave_on_a_slope_is_learned(outputs):
    forecaster = Forecaster(24, 12, outputs=outputs, **WELL)
    found = forecaster.fit(NOISY[:220]).predict(NOISY[:220])
    naive = SeasonalNaive(12, 12).fit(NOISY[:220]).predict(NOISY[:220])
    error, baseline = (np.abs(f.values - WAVE[220:232]).mean() for f in (found, naive))
    assert error < 0.6 * baseline
    assert (found.lower <= found.values).all() and (found.values <= found.upper).all()
    assert found.values.shape == (12,) and found.interval == 0.9


def test_recursive_forecasts():
    found = Forecaster(24, 12, strategy="recursive", **WELL).fit(
        NOISY[:220]).predict(NOISY[:220])  # fmt: skip
    assert np.abs(found.values - WAVE[220:232]).mean() < 0.2
    assert (found.upper - found.lower).min() > 0.1


def test_a_recursive_step_reads_what_was_forecast():
    """The second step is the first step's forecast after a series that has it as its end."""
    two = Forecaster(8, 2, strategy="recursive", outputs="point", **FAST).fit(NOISY)
    first = two.predict(NOISY).values
    model = two.model
    scale = two._learned["scale"]
    window = np.append(NOISY[-7:], first[0])
    x = ((window - first[0]) / scale)[None, :, None].astype("f4")
    np.testing.assert_allclose(first[1], model.predict(x)[0] * scale + first[0], rtol=1e-5)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_covariates_that_are_known_in_advance(strategy):
    rng = np.random.default_rng(2)
    known = rng.integers(0, 2, 400).astype(float)
    y = 3 * known + 0.1 * rng.normal(size=400)
    forecaster = Forecaster(6, 5, strategy=strategy, **WELL).fit(y[:380], known=known[:380])
    found = forecaster.predict(y[:380], known=known[:385])
    assert np.abs(found.values - 3 * known[380:385]).max() < 0.8
    with pytest.raises(ValueError, match=r"known: expected 385 rows, .*got 380"):
        forecaster.predict(y[:380], known=known[:380])
    with pytest.raises(ValueError, match="known: expected 1 columns, as in fit, got 0"):
        forecaster.predict(y[:380])


def test_forms_of_series():
    wide = np.stack([NOISY, -NOISY], axis=1)
    several = [wide, wide[:200], wide[40:]]
    direct = Forecaster(24, 6, targets=[1], **FAST).fit(several)
    found = direct.predict(several)
    assert len(found) == 3 and found[1].values.shape == (6, 1)
    frame = pd.DataFrame(wide, columns=["a", "b"], index=pd.date_range("2020", periods=len(wide)))
    np.testing.assert_array_equal(direct.predict(frame).values, found[0].values)
    batch = Forecaster(24, 6, **FAST).fit(np.stack([wide, wide])).predict(wide)
    assert batch.values.shape == (6, 2)


def test_gaps_and_a_way_back():
    gaps = NOISY.copy()
    gaps[50:60] = np.nan
    plain = Forecaster(24, 6, **FAST)
    with pytest.raises(ValueError, match="series: expected numbers, got nan at row 50"):
        plain.fit(gaps)
    filled = Forecaster(24, 6, transform=Doubled(), **FAST).fit(gaps).predict(gaps)
    assert np.abs(filled.values - WAVE[:6] - 0.05 * 260).max() < 2  # not twice as large


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_saved_and_loaded(strategy, tmp_path):
    path = tmp_path / "f.safetensors"
    made = Forecaster(24, 6, strategy=strategy, transform=Doubled(), **FAST)
    with pytest.raises(ValueError, match="Forecaster: expected to be fitted"):
        made.save(path)
    made.fit(NOISY).save(path)
    loaded = Forecaster.load(path)
    for a, b in zip(made.predict(NOISY)[:3], loaded.predict(NOISY)[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"f.safetensors: "):
        Forecaster.load(path)


def test_a_seed_and_any_threads_are_the_same_bits(restore):
    found = []
    for threads in (1, 3):
        clstm.config.set_num_threads(threads)
        state = clstm.random.get_state()
        found.append(Forecaster(24, 6, **FAST).fit(NOISY).predict(NOISY))
        assert clstm.random.get_state() == state
    for a, b in zip(found[0][:3], found[1][:3], strict=True):
        np.testing.assert_array_equal(a, b)


def test_windows_for_the_intervals_share_no_target_with_those_of_the_training():
    trained, held = split([NOISY, NOISY[:60]], past=5, horizon=4, calibration=0.2)
    for a, b in zip(trained, held, strict=True):
        assert a.max() + 4 <= b.min() and len(b) / (len(a) + 3 + len(b)) == pytest.approx(0.2, 0.1)


@pytest.mark.parametrize(("options", "words"), [
    ({"past": 0}, "past: "), ({"horizon": 0}, "horizon: "), ({"strategy": "both"}, "strategy: "),
    ({"outputs": "all"}, "outputs: expected one of"), ({"interval": 1.0}, "interval: "),
    ({"calibration": 0.0}, "calibration: "), ({"units": 0}, "units: "), ({"epochs": 0}, "epochs: "),
    ({"targets": []}, "targets: expected a list of columns"),
    ({"targets": [0], "strategy": "recursive"}, "targets: expected None with"),
])  # fmt: skip
def test_wrong_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        Forecaster(**{"past": 4, "horizon": 2, **options})


@pytest.mark.parametrize(("series", "words"), [
    (NOISY[:20], "series: expected at least 30 rows, got 20"),
    (NOISY[:33], r"series: expected one of at least 36 rows.*got 33"),
    ([NOISY, NOISY[:9]], r"series\[1\]: expected at least 30 rows, got 9"),
    (pd.DataFrame({"a": NOISY}, index=pd.to_datetime(["2020-01-02"] * 2 + ["2020-01-03"] * 258)),
     r"series: expected times that rise, got 2020-01-02.* at row 1"),
    (np.where(T == 7, np.inf, NOISY), "series: expected numbers, got inf at row 7"),
])  # fmt: skip
def test_series_that_cannot_be_learned(series, words):
    forecaster = Forecaster(24, 6)
    with pytest.raises(ValueError, match=words):
        forecaster.fit(series)
    assert forecaster.model is None
    with pytest.raises(ValueError, match="Forecaster: expected to be fitted"):
        forecaster.predict(NOISY)


def test_as_many_rows_as_the_message_says_are_enough():
    for past, horizon, calibration in ((24, 6, 0.15), (10, 52, 0.15), (3, 1, 0.5), (5, 4, 0.9)):
        forecaster = Forecaster(past, horizon, calibration=calibration, epochs=1, units=2)
        with pytest.raises(ValueError, match="series: expected") as error:
            forecaster.fit(np.arange(past + horizon, dtype=float))
        least = int(str(error.value).split("at least ")[1].split()[0])
        with pytest.raises(ValueError, match=f"at least {least} rows"):
            forecaster.fit(np.sin(np.arange(least - 1)))
        forecaster.fit(np.sin(np.arange(least)))


def test_transforms_keep_rows_and_columns():
    for transform in (Difference(), Keep()):
        with pytest.raises(ValueError, match="transform: expected one that keeps the"):
            Forecaster(24, 6, transform=transform).fit(NOISY)

    class OneWay(Transform):
        def _apply(self, table):
            return table.map(np.copy)

    with pytest.raises(ValueError, match="expected a transform with a way back of 'a', got OneWay"):
        backtest({"a": Forecaster(24, 6, transform=OneWay())}, NOISY, 200)


def test_what_was_filled_is_neither_learned_nor_counted():
    """White noise, of which half is missing: the mean that fills it would narrow the interval."""
    y = np.random.default_rng(0).normal(size=500)
    y[np.random.default_rng(1).random(500) < 0.5] = np.nan
    forecaster = Forecaster(6, 4, transform=Filled(), calibration=0.4, **FAST).fit(y)
    assert np.isnan(forecaster._learned["scores"]).mean() == pytest.approx(0.5, abs=0.1)
    fresh = np.random.default_rng(2).normal(size=(300, 4))
    found = forecaster.predict(y)
    assert 0.85 < ((found.lower <= fresh) & (fresh <= found.upper)).mean() < 0.97
    gaps = NOISY.copy()
    gaps[-60:] = np.nan
    with pytest.raises(ValueError, match="series: expected known values among the last windows"):
        Forecaster(24, 6, transform=Filled(), **FAST).fit(gaps)


def test_a_transform_that_was_fitted_is_the_one_that_is_used():
    class Constant:
        def fit(self, x, y):
            self.value = 1e3

        def predict(self, x):
            return np.full(len(x), self.value)

    y = NOISY.copy()
    y[-1] = np.nan
    found = Forecaster(8, 2, transform=Predict(Constant()), **FAST).fit(y).predict(y)
    assert found.values[0] > 500


def test_frames_whose_columns_changed():
    frame = pd.DataFrame({"a": NOISY, "b": T + 0.0})
    for f in (Forecaster(8, 2, **FAST), Naive(2)):
        f.fit(frame)
        with pytest.raises(ValueError, match=r"series: expected the columns \['a', 'b'\], as"):
            f.predict(frame[["b", "a"]])
        with pytest.raises(ValueError, match="series: expected 2 columns, as in fit, got 1"):
            f.predict(frame[["a"]])
    f = Forecaster(8, 2, **FAST).fit(frame[["a"]][:200], known=frame)
    with pytest.raises(ValueError, match=r"known: expected the columns \['a', 'b'\], as in fit"):
        f.predict(frame[["a"]][:200], known=frame[["b", "a"]])


def test_series_of_other_columns_than_were_fitted():
    forecaster = Forecaster(12, 3, targets=[2], **FAST)
    with pytest.raises(ValueError, match=r"targets: expected columns in 0 .. 0, got 2"):
        forecaster.fit(NOISY)
    forecaster = Forecaster(12, 3, **FAST).fit(NOISY)
    with pytest.raises(ValueError, match="series: expected 1 columns, as in fit, got 2"):
        forecaster.predict(np.stack([NOISY, NOISY], axis=1))


# --- backtests ---------------------------------------------------------------------------------


def test_a_backtest_by_hand():
    y = np.array([1.0, 3, 2, 5, 4, 7, 6, 9])
    found = backtest({"naive": Naive(2)}, y, first=4, every=2)
    assert found.origins.tolist() == [4, 6]
    assert found.actual[..., 0].tolist() == [[4, 7], [6, 9]]
    assert found.values["naive"][..., 0].tolist() == [[5, 5], [7, 7]]
    score = found.scores["naive"]
    assert score.mae == 1.5 and score.rmse == np.sqrt(10 / 4)
    assert found.by_step("naive").tolist() == [1, 2]
    assert "naive" in str(found) and "1.5" in str(found)


def test_a_backtest_compares_each_column_with_its_own():
    y = np.stack([NOISY, 100 + T], axis=1)
    both = {"lstm": Forecaster(8, 3, targets=[1, 0], **FAST), "naive": Naive(3)}
    found = backtest(both, y, 240, 5)
    assert found.scores["naive"].mae < 5
    assert found.values["naive"][0, 0].tolist() == [y[239, 1], y[239, 0]]


def test_a_backtest_knows_nothing_of_what_comes():
    forecasters = {"lstm": Forecaster(24, 6, **FAST), "season": SeasonalNaive(6, 12)}
    options = {"first": 200, "every": 20, "refit": 1}
    whole = backtest(forecasters, NOISY, **options)
    changed = NOISY.copy()
    changed[220:] = 1e3
    other = backtest(forecasters, changed, **options)
    for name in forecasters:
        for a, b in ((whole.values, other.values), (whole.lower, other.lower)):
            np.testing.assert_array_equal(a[name][:2], b[name][:2])
            assert (a[name][2] != b[name][2]).all()


def test_a_backtest_fits_anew_as_often_as_asked():
    class Counts(Naive):
        fits = 0

        def fit(self, series):
            self.fits += 1
            return super().fit(series)

    for refit, fits in ((None, 1), (1, 5), (2, 3), (5, 1)):
        counts = Counts(2)
        backtest({"counts": counts}, NOISY[:60], first=50, every=2, refit=refit)
        assert counts.fits == fits


def test_a_backtest_with_covariates_gaps_and_a_frame():
    y = np.stack([NOISY, T], axis=1)
    y[230, 0] = np.nan
    frame = pd.DataFrame(y, columns=["y", "t"])
    known = np.sin(2 * np.pi * T / 12)
    forecasters = {"lstm": Forecaster(24, 6, targets=[0], transform=Doubled(), **FAST),
                   "naive": Naive(6)}  # fmt: skip
    found = backtest(forecasters, frame, first=220, every=10, known=known)
    assert found.actual.shape == (4, 6, 1) and np.isnan(found.actual).sum() == 1
    assert found.values["naive"].shape == (4, 6, 1)
    assert all(np.isfinite(score).all() for score in found.scores.values())


def test_wrong_backtests():
    with pytest.raises(ValueError, match="forecasters: expected a dict of at least one"):
        backtest({}, NOISY, 50)
    with pytest.raises(ValueError, match="forecasters: expected the horizon 2 of all, got 3 of"):
        backtest({"a": Naive(2), "b": Naive(3)}, NOISY, 50)
    with pytest.raises(ValueError, match="series: expected at least 262 rows, got 260"):
        backtest({"a": Naive(2)}, NOISY, 260)
    with pytest.raises(ValueError, match="series: expected one, got 2"):
        backtest({"a": Naive(2)}, [NOISY, NOISY], 50)


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    naive = Naive(3).fit(NOISY)
    naive.predict(NOISY).plot(NOISY, NOISY[:2], tmp_path / "a.png")
    naive.fit(np.stack([NOISY, T], 1)).predict(np.stack([NOISY, T], 1)).plot(
        path=tmp_path / "b.png")  # fmt: skip
    backtest({"a": Naive(3)}, NOISY, 240).plot(tmp_path / "c.png")
    for name in "abc":
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="history: expected 1 columns"):
        naive.fit(NOISY).predict(NOISY).plot(np.ones((4, 2)))
