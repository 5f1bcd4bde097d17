"""Scalers, categories and vocabularies: by hand, against SciPy, there and back, saved."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import clstm
from clstm import LSTM, Dense, Sequential
from clstm.data import (
    Categories,
    Difference,
    Log,
    MaxAbsScaler,
    MinMaxScaler,
    OneHot,
    Pipeline,
    PowerScaler,
    RobustScaler,
    StandardScaler,
    Vocabulary,
    load_transform,
)

RNG = np.random.default_rng(0)
X = np.exp(RNG.normal(size=(50, 3))) * [1, 10, 100] - [0, 3, 0]
SCALERS = {
    "standard": StandardScaler(), "minmax": MinMaxScaler(-1, 2), "robust": RobustScaler(),
    "maxabs": MaxAbsScaler(), "power": PowerScaler(), "log": Log(4.0),
    "pipeline": Pipeline([Log(4.0), StandardScaler()]),
}  # fmt: skip


def copy_of(transform):
    return type(transform).from_config(transform.get_config())


def frames(x):
    columns = ["a", "b", "c"]
    return {"pandas": pd.DataFrame(x, columns=columns), "polars": pl.DataFrame(x, schema=columns)}


def test_by_hand():
    x = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, np.nan]])
    root = np.sqrt(8 / 3)
    want = {"standard": [-2 / root, 0, 2 / root], "minmax": [-1, 0.5, 2], "robust": [-1, 0, 1],
            "maxabs": [0, 0.5, 1], "log": np.log([4, 6, 8])}  # fmt: skip
    for name, column in want.items():
        got = copy_of(SCALERS[name]).fit_transform(x)
        np.testing.assert_allclose(got[:, 0], column, atol=1e-12, err_msg=name)
        assert np.isnan(got[2, 1]) and np.isfinite(got[:2, 1]).all()
    for way in (StandardScaler(), RobustScaler(), PowerScaler(), MinMaxScaler()):
        constant = np.full((1000, 1), 0.1)  # whose deviation is of rounding alone
        assert np.abs(way.fit_transform(constant)).max() < 1e-9
        assert np.abs(way.transform(constant + 0.1)).max() < 0.2


def test_the_power_is_scipys():
    x = RNG.gamma(2, size=200)
    y, power = stats.yeojohnson(x)
    scaler = PowerScaler().fit(x)
    assert scaler.power == pytest.approx(power)
    np.testing.assert_allclose(scaler.transform(x), (y - y.mean()) / y.std(), rtol=1e-9)
    for power in (0.0, 2.0, -1.5, 3.5, 1.0):
        scaler.power = np.array([power])
        scaler.center, scaler.scale = np.zeros(1), np.ones(1)
        both = np.linspace(-5, 5, 41)
        np.testing.assert_allclose(scaler.transform(both), stats.yeojohnson(both, power), rtol=1e-9)
        back = scaler.inverse_transform(scaler.transform(both))
        np.testing.assert_allclose(back, both, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", SCALERS)
def test_there_and_back_in_every_form(name):
    scaler = copy_of(SCALERS[name]).fit(X)
    forms = {"matrix": X, "f4": X.astype("f4"), "batch": np.stack([X, X[::-1]]),
             "ragged": [X[:3], X[5:30]], **frames(X)}  # fmt: skip
    for form, x in forms.items():
        y = scaler.transform(x)
        back = scaler.inverse_transform(y)
        for a, b in zip(x if form == "ragged" else [x], back if form == "ragged" else [back],
                        strict=True):  # fmt: skip
            a, b = np.asarray(a), np.asarray(b)
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=1e-3 if form == "f4" else 1e-8)
    assert np.asarray(scaler.transform(forms["pandas"])).std() > 0


@pytest.mark.parametrize("name", SCALERS)
def test_nothing_of_the_test_part_leaks(name):
    """Fitted on the training part, the test part changes nothing that comes out of it."""
    train, test = X[:30], X[30:]
    scaler = copy_of(SCALERS[name]).fit(train)
    state, first = str(scaler.get_state()), scaler.transform(train)
    scaler.transform(test * 100)
    assert str(scaler.get_state()) == state
    np.testing.assert_array_equal(scaler.transform(train), first)
    together = scaler.transform(np.concatenate([train, test]))
    np.testing.assert_array_equal(together[:30], first)
    other = copy_of(SCALERS[name]).fit(np.concatenate([train, 100 * np.abs(test)]))
    assert (other.transform(train) == first).all() == (name == "log")  # which learns nothing


@pytest.mark.parametrize("name", SCALERS)
def test_saved_alone_and_with_a_model(name, tmp_path):
    scaler = copy_of(SCALERS[name]).fit(frames(X)["pandas"])
    scaler.save(tmp_path / "s.safetensors")
    model = Sequential([LSTM(2, input_shape=(4, 3)), Dense(1)])
    model.transforms = {"x": scaler}
    model.save(tmp_path / "m.safetensors")
    for loaded in (load_transform(tmp_path / "s.safetensors"),
                   clstm.load_model(tmp_path / "m.safetensors").transforms["x"]):  # fmt: skip
        assert type(loaded) is type(scaler) and loaded.columns == ("a", "b", "c")
        np.testing.assert_array_equal(loaded.transform(X), scaler.transform(X))
    with pytest.raises(ValueError, match=r"m.safetensors: expected a file of a transform"):
        load_transform(tmp_path / "m.safetensors")


def test_columns_without_a_value_and_values_without_a_scale():
    missing = frames(np.where([False, True, False], np.nan, X))["pandas"]
    for name in ("standard", "minmax", "robust", "maxabs", "power"):
        scaler = copy_of(SCALERS[name])
        with pytest.raises(ValueError, match="x: expected a known value in column 'b', got none"):
            scaler.fit(missing)
        with pytest.raises(ValueError, match="expected finite numbers or NaN, got inf in column 2"):
            scaler.fit(np.where([False, False, True], np.inf, X))
        assert scaler.features is None
    log = Log().fit(X[:, :1])
    with pytest.raises(ValueError, match=r"x: expected numbers above -0, got -1\.0 at row 1 of "
                                         r"column 0 of sequence 0"):  # fmt: skip
        log.transform(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="high: expected a number > low = 1"):
        MinMaxScaler(1, 1)


@pytest.mark.parametrize("lag", [1, 7])
def test_differences(lag):
    steps = Difference(lag).fit(X)
    y = steps.transform(X)
    np.testing.assert_array_equal(y, X[lag:] - X[:-lag])
    np.testing.assert_allclose(steps.integrate(y, X[:lag]), X[lag:], rtol=1e-9)
    frame = pd.DataFrame(X, index=pd.date_range("2020", periods=50))
    assert list(steps.transform(frame).index) == list(frame.index[lag:])
    assert steps.integrate(np.array([1, 2]), np.full(lag, 0.5))[0] == 1.5
    assert not steps.has_inverse
    with pytest.raises(ValueError, match=f"more than {lag} rows, got {lag} in sequence 1"):
        steps.transform([X, X[:lag]])
    with pytest.raises(ValueError, match=f"before: expected at least {lag} rows"):
        steps.integrate(y, X[: lag - 1])


# --- categories --------------------------------------------------------------------------------

TRAIN = pd.DataFrame({"shop": ["b", "a", None, "b"], "size": [3, 1, 3, 2]})


def test_categories_are_the_rows_of_an_embedding():
    encoder = Categories().fit(TRAIN)
    assert encoder.categories == [["a", "b"], [1, 2, 3]] and encoder.sizes == [3, 4]
    got = encoder.transform(TRAIN)
    assert isinstance(got, pd.DataFrame)
    np.testing.assert_array_equal(got, [[2, 3], [1, 1], [0, 3], [2, 2]])
    new = pl.DataFrame({"shop": ["z", "a"], "size": [9, 2]})
    np.testing.assert_array_equal(encoder.transform(new), [[0, 0], [1, 2]])
    back = encoder.inverse_transform(np.asarray(got))
    assert back.tolist() == [["b", 3], ["a", 1], [None, 3], ["b", 2]]
    rows = np.array([["u", "v"], ["v", "v"]])
    assert Categories().fit_transform(rows).tolist() == [[1, 1], [2, 1]]
    ragged = Categories().fit_transform([["x", "y"], ["y"]])
    assert [one.tolist() for one in ragged] == [[1, 2], [2]]


def test_one_column_for_each_category():
    encoder = OneHot().fit(TRAIN)
    got = encoder.transform(TRAIN)
    assert list(got.columns) == ["shop=a", "shop=b", "size=1", "size=2", "size=3"]
    np.testing.assert_array_equal(
        got, [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 1, 0, 1, 0]])  # fmt: skip
    assert np.asarray(got).dtype == np.float32
    back = encoder.inverse_transform(got)
    assert back["shop"].fillna("-").tolist() == ["b", "a", "-", "b"]
    assert back["size"].tolist() == [3, 1, 3, 2]


def test_categories_that_cannot_be(tmp_path):
    with pytest.raises(TypeError, match=r"x: expected values of one type in column 'a'.*'int', 's"):
        Categories().fit(pd.DataFrame({"a": ["x", 1]}))
    with pytest.raises(TypeError, match="x: expected texts, numbers or booleans in column 0"):
        Categories().fit(np.array([(1,), None], object))
    with pytest.raises(ValueError, match="x: expected a known value in column 'a'"):
        OneHot().fit(pd.DataFrame({"a": [None, None]}))
    encoder = Categories().fit(TRAIN)
    with pytest.raises(ValueError, match=r"x: expected the columns \['shop', 'size'\], as in fit"):
        encoder.transform(TRAIN.rename(columns={"shop": "store"}))
    with pytest.raises(ValueError, match=r"x: expected integers in 0 .. 2 in column 0"):
        encoder.inverse_transform(np.array([[3, 0]]))
    encoder.save(tmp_path / "c")
    loaded = load_transform(tmp_path / "c")
    assert loaded.categories == encoder.categories and loaded.columns == ("shop", "size")


# --- texts -------------------------------------------------------------------------------------


def test_vocabularies(tmp_path):
    characters = Vocabulary().fit(["abba", "b c"])
    assert characters.words == ["b", "a", " ", "c"] and len(characters) == 6
    assert characters.transform("cab?").tolist() == [5, 3, 2, 1]
    assert characters.inverse_transform(np.array([5, 3, 2, 1, 0, 0])) == "cab\ufffd"
    words = Vocabulary("words", size=3, lower=True).fit("The sea, the Sky. The sea!")
    assert words.words == ["the", "sea", "!"]
    found = words.transform(["the SEA is!", ""])
    assert [one.tolist() for one in found] == [[2, 3, 1, 4], []]
    assert words.inverse_transform(found) == ["the sea \ufffd !", ""]
    assert words.inverse_transform(np.array([[2, 3], [4, 0]])) == ["the sea", "!"]
    words.save(tmp_path / "v")
    loaded = load_transform(tmp_path / "v")
    assert loaded.transform("the sky").tolist() == words.transform("the sky").tolist() == [2, 1]


def test_texts_that_are_none():
    with pytest.raises(ValueError, match="level: expected one of"):
        Vocabulary("bytes")
    vocabulary = Vocabulary()
    for x, error in (([], ValueError), ("", ValueError), ([3], TypeError), (3, TypeError)):
        with pytest.raises(error, match="x"):
            vocabulary.fit(x)
    with pytest.raises(ValueError, match="Vocabulary: expected to be fitted"):
        vocabulary.transform("a")
    vocabulary.fit("ab")
    with pytest.raises(ValueError, match=r"x: expected 0 .. 3, got 4"):
        vocabulary.inverse_transform(np.array([4]))
    with pytest.raises(ValueError, match=r"x: expected \(T,\) integers, got float64"):
        vocabulary.inverse_transform(np.ones(3))
