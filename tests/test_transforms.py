"""What all transforms of data share: forms in and out, state, the model file."""

from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest

import clstm
from clstm import LSTM, Dense, Sequential, load_model
from clstm.data import Pipeline, Transform
from clstm.data.table import read

RNG = np.random.default_rng(0)


@clstm.register("transform")
class Shift(Transform):
    """x + by - the mean of the training part."""

    state_names: ClassVar = ("mean",)

    def __init__(self, by=0.0):
        self.by = by

    def _fit(self, table):
        return {"mean": np.concatenate(table.parts).mean(axis=0)}

    def _apply(self, table):
        return table.map(lambda part: part - self.mean + self.by)

    def _undo(self, table):
        return table.map(lambda part: part + self.mean - self.by)


def frame(rows=5, start="2020-01-01"):
    index = pd.date_range(start, periods=rows, name="day")
    return pd.DataFrame({"a": np.arange(rows) * 1.0, "b": RNG.normal(size=rows)}, index=index)


FORMS = {
    "series": RNG.normal(size=6).astype("f4"), "matrix": RNG.normal(size=(6, 2)),
    "batch": RNG.normal(size=(4, 6, 2)).astype("f4"), "integers": np.arange(12).reshape(6, 2),
    "ragged": [RNG.normal(size=(n, 2)) for n in (3, 1, 7)],
    "ragged series": [RNG.normal(size=n) for n in (3, 1, 7)],
    "pandas": frame(), "pandas series": frame()["b"], "polars": pl.DataFrame(frame()),
    "frames": [frame(3), frame(4, "2021-01-01")],
}  # fmt: skip


def arrays(x):
    return [np.asarray(part, float) for part in (x if isinstance(x, list) else [x])]


@pytest.mark.parametrize("x", FORMS.values(), ids=FORMS)
def test_what_goes_in_comes_out_and_back(x):
    shift = Shift(3.0)
    y = shift.fit_transform(x)
    flat = np.concatenate([a.reshape(-1, shift.features) for a in arrays(x)])
    for a, b in zip(arrays(x), arrays(y), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a - flat.mean(axis=0).reshape((-1,) * (a.ndim > 1)) + 3,
                                   rtol=1e-5, atol=1e-6)  # fmt: skip
    for a, b in zip(arrays(x), arrays(shift.inverse_transform(y)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    given, got = (v[0] if isinstance(v, list) else v for v in (x, y))
    assert type(given) is type(got)
    if isinstance(given, (pd.DataFrame, pd.Series)):
        assert (given.index == got.index).all() and given.index.name == got.index.name
    if isinstance(given, (pd.DataFrame, pl.DataFrame)):
        assert list(given.columns) == list(got.columns)
    if isinstance(given, np.ndarray):
        assert got.dtype == (given.dtype if given.dtype.kind == "f" else np.float64)


def test_the_input_is_not_changed():
    x = FORMS["batch"].copy()
    Shift(3.0).fit_transform(x)
    np.testing.assert_array_equal(x, FORMS["batch"])


def test_what_is_missing_in_frames_is_nan():
    given = pd.DataFrame({"a": [1.0, None, 3.0], "b": pd.array([1, None, 3], dtype="Int64"),
                          "c": [True, None, False]})  # fmt: skip
    part = read("x", given).parts[0]
    np.testing.assert_array_equal(part, [[1, 1, 1], [np.nan] * 3, [3, 3, 0]])
    part = read("x", pl.DataFrame({"a": [1, None], "b": [None, 2.5]})).parts[0]
    np.testing.assert_array_equal(part, [[1, np.nan], [np.nan, 2.5]])


def test_times_of_an_index():
    assert (read("x", frame()).times[0] == frame().index).all()
    assert read("x", frame().reset_index(drop=True)).times == [None]


def test_frames_keep_the_labels_of_their_columns():
    shift = Shift().fit(pd.DataFrame(RNG.normal(size=(4, 2))))
    got = shift.transform(pd.DataFrame(RNG.normal(size=(4, 2))))
    assert list(got.columns) == [0, 1] and list(shift.inverse_transform(got).columns) == [0, 1]
    assert Shift().fit_transform(pd.Series([1.0, 2.0])).name is None


def test_masked_arrays_are_missing_where_they_are_masked():
    masked = np.ma.masked_greater(np.array([[1, 2], [3, 99]]), 50)
    np.testing.assert_array_equal(read("x", masked).parts[0], [[1, 2], [3, np.nan]])
    np.testing.assert_array_equal(read("x", np.ma.stack([masked, masked])).parts[1],
                                  [[1, 2], [3, np.nan]])  # fmt: skip


def test_a_way_back_reads_what_transform_gives():
    shift = Shift()
    with pytest.raises(ValueError, match="Shift: expected to be fitted before"):
        shift.inverse_transform(np.ones((2, 2)))
    shift.fit(frame())
    with pytest.raises(ValueError, match="x: expected 2 features, as transform gives, got 1"):
        shift.inverse_transform(np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"x: expected the columns \['a', 'b'\], as transform g"):
        shift.inverse_transform(frame()[["b", "a"]])


def test_rows_parts_and_columns():
    table = read("x", [frame(3), frame(4)])
    kept = table.keep_rows([np.array([0, 2]), np.array([False, True, True, False])]).give()
    assert [list(k.index.day) for k in kept] == [[1, 3], [2, 3]]
    (only,) = table.keep_parts([1]).give()
    assert len(only) == 4
    wide = table.with_columns([np.zeros((3, 3)), np.zeros((4, 3))], ["p", "q", "r"]).give()
    assert list(wide[0].columns) == ["p", "q", "r"]
    assert read("x", np.arange(3.0)).with_columns([np.zeros((3, 2))], "pq").give().shape == (3, 2)
    series = read("x", frame()["a"]).with_columns([np.zeros((5, 2))], "pq").give()
    assert isinstance(series, pd.DataFrame)
    batch = read("x", np.zeros((2, 3, 1)))
    assert batch.keep_rows([[0, 1], [1, 2]]).give().shape == (2, 2, 1)
    assert [len(a) for a in batch.keep_rows([[0, 1], [1]]).give()] == [2, 1]


@pytest.mark.parametrize(("x", "error", "words"), [
    ([], ValueError, r"x: expected at least one sequence"),
    ([[1.0, 2.0], [[1.0], [2.0, 3.0]]], ValueError, r"x\[1\]: expected a rectangular array"),
    ([np.ones((2, 2)), np.ones((2, 3))], ValueError, r"x\[1\]: expected 2 features.*got 3"),
    (np.ones((2, 2, 2, 2)), ValueError, r"x: expected a sequence .*got shape \(2, 2, 2, 2\)"),
    (5.0, ValueError, r"x: expected a sequence.*got shape \(\)"),
    (np.array(["a"]), TypeError, "x: expected numbers, got <U1"),
    (np.array([1j]), TypeError, "x: expected numbers, got complex128"),
    (np.ones((3, 0)), ValueError, "x: expected at least one feature"),
    (pd.DataFrame({"a": [1.0], "b": ["x"]}), TypeError, r"x\['b'\]: expected numbers"),
    (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), TypeError, r"x\['a'\]: expected numbers"),
    (pd.DataFrame(index=[1, 2]), ValueError, "x: expected at least one column"),
    ([frame(), frame().rename(columns={"b": "c"})], ValueError, r"x\[1\]: expected the columns"),
])  # fmt: skip
def test_what_is_no_sequence(x, error, words):
    shift = Shift()
    with pytest.raises(error, match=words):
        shift.fit(x)
    assert shift.features is None and shift.get_state() == {}


def test_data_of_another_kind_than_was_fitted():
    shift = Shift()
    with pytest.raises(ValueError, match="Shift: expected to be fitted before"):
        shift.transform(frame())
    shift.fit(frame())
    with pytest.raises(ValueError, match="x: expected 2 features, as in fit, got 3"):
        shift.transform(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"x: expected the columns \['a', 'b'\].*got \['b', 'a'\]"):
        shift.transform(frame()[["b", "a"]])
    assert shift.transform(np.ones((4, 2))).shape == (4, 2)  # arrays have no names


def test_a_pipeline():
    x = FORMS["batch"]
    pipeline = Pipeline([Shift(1.0), Shift(2.0)])
    y = pipeline.fit_transform(x)
    np.testing.assert_allclose(y, x - x.mean(axis=(0, 1)) + 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pipeline.inverse_transform(y), x, rtol=1e-5, atol=1e-6)
    again = Pipeline.from_config(pipeline.get_config())
    again.set_state(pipeline.get_state())
    np.testing.assert_array_equal(again.transform(x), y)
    for steps, error in (([], ValueError), ([3], TypeError), ("ab", ValueError)):
        with pytest.raises(error, match="steps"):
            Pipeline(steps)


def test_a_pipeline_that_cannot_be_fitted_has_learned_nothing():
    class Refuses(Shift):
        def _fit(self, table):
            raise ValueError("no")

    pipeline = Pipeline([Shift(), Refuses()])
    with pytest.raises(ValueError, match="no"):
        pipeline.fit(frame())
    assert pipeline.features is None and pipeline.steps[0].features is None


def test_saved_with_a_model(tmp_path):
    x = FORMS["batch"]
    model = Sequential([LSTM(3, input_shape=(6, 2)), Dense(1)])
    model.transforms = {"x": Pipeline([Shift(1.0), Shift()]), "y": Shift(), "frame": Shift()}
    model.transforms["x"].fit(x)
    model.transforms["frame"].fit(frame())
    model.save(tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors").transforms
    assert loaded.keys() == model.transforms.keys() and loaded["y"].features is None
    np.testing.assert_array_equal(loaded["x"].transform(x), model.transforms["x"].transform(x))
    assert loaded["frame"].columns == ("a", "b")
    model.transforms = {"x": 3}
    before = (tmp_path / "m.safetensors").read_bytes()
    with pytest.raises(TypeError, match="transforms/x: expected a Transform, got int"):
        model.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == before


def test_states_that_do_not_fit():
    pipeline = Pipeline([Shift(), Shift()]).fit(frame())
    state = pipeline.get_state()
    before = str(state)
    with pytest.raises(ValueError, match="Pipeline: expected a state of 2 steps, got 1"):
        pipeline.set_state({k: v for k, v in state.items() if k != "1"})
    with pytest.raises(ValueError, match="Shift: expected a state of"):
        pipeline.set_state(state | {"1": {"mean": 3}})
    assert str(pipeline.get_state()) == before
    pipeline.set_state({})
    assert pipeline.features is None and pipeline.steps[1].features is None
    with pytest.raises(ValueError, match="Shift: expected a state of"):
        Shift().set_state({"mean": np.ones(2)})
