"""The data sets that come with the package: their facts, their splits, their licences."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from clstm import datasets

FOLDER = Path(datasets.__file__).parent
DATA_FILES = [*FOLDER.glob("*.npz"), *FOLDER.glob("*.gz")]
LOADERS = [datasets.load_co2, datasets.load_digits, datasets.load_verses]


def flat(loaded):
    """The four members of ((a, b), (c, d))."""
    return [member for part in loaded for member in part]


# --- co2


def test_co2_shapes_and_types():
    (dates_train, values_train), (dates_test, values_test) = datasets.load_co2()
    assert dates_train.shape == values_train.shape == (2023,)
    assert dates_test.shape == values_test.shape == (261,)
    assert dates_train.dtype == dates_test.dtype == np.dtype("datetime64[D]")
    assert values_train.dtype == values_test.dtype == np.float32


def test_co2_is_weekly_and_split_in_time():
    train, test = datasets.load_co2()
    dates = np.concatenate([train.dates, test.dates])
    assert dates[0] == np.datetime64("1958-03-29")
    assert dates[-1] == np.datetime64("2001-12-29")
    assert (np.diff(dates) == np.timedelta64(7, "D")).all()
    assert test.dates[0] == np.datetime64("1997-01-04")


def test_co2_values():
    train, test = datasets.load_co2()
    values = np.concatenate([train.values, test.values])
    assert values[0] == np.float32(316.1)
    assert values[-1] == np.float32(371.5)
    assert np.nanmin(values) == np.float32(313.0)
    assert np.nanmax(values) == np.float32(373.9)


def test_co2_gaps():
    train, test = datasets.load_co2()
    missing = np.isnan(train.values)
    edges = np.flatnonzero(np.diff(missing.astype(int)))
    lengths = np.diff(edges)[::2]  # the series starts and ends with a value
    assert missing.sum() == lengths.sum() == 59
    assert len(lengths) == 22
    assert lengths.max() == 18
    assert train.dates[edges[::2][lengths.argmax()] + 1] == np.datetime64("1964-01-25")
    assert not np.isnan(test.values).any()


# --- digits


def test_digits_shapes_types_and_range():
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert x_train.shape == (1415, 8, 8) and y_train.shape == (1415,)
    assert x_test.shape == (382, 8, 8) and y_test.shape == (382,)
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int64
    for x in (x_train, x_test):
        assert x.min() == 0 and x.max() == 1
        assert (x * 16 == np.round(x * 16)).all()


def test_digits_are_those_of_uci():
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    assert (x_train[0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    counts = np.bincount(np.concatenate([y_train, y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images = np.concatenate([x_train, x_test]).reshape(1797, 64)
    assert len(np.unique(images, axis=0)) == 1797  # so no digit is on both sides


def test_digits_are_split_between_forms_and_balanced():
    (_, y_train), (_, y_test) = datasets.load_digits()
    form = [*range(10)] * 3 + [0, 9, 5, 5, 6, 5, 0, 9, 8, 9]
    assert y_train[:40].tolist() == y_test[:40].tolist() == form
    counts = np.bincount(y_test)
    assert counts.min() == 35 and counts.max() == 39


# --- verses


def test_verses_types():
    for texts, books in datasets.load_verses():
        assert type(texts) is list and all(type(text) is str for text in texts)
        assert books.shape == (len(texts),) and books.dtype == np.int64
        assert (np.diff(books) >= 0).all()
        assert set(books.tolist()) == set(range(len(datasets.BOOKS)))


def test_verses_text():
    train, test = datasets.load_verses()
    assert train.texts[0] == "In the beginning God created the heaven and the earth."
    begin = "And God called the light Day, and the darkness he called Night."
    assert test.texts[0].startswith(begin)
    assert "Jesus wept." in train.texts + test.texts
    assert train.texts[-1] == "The grace of our Lord Jesus Christ be with you all. Amen."
    lengths = [len(text) for text in train.texts + test.texts]
    assert min(lengths) == 11 and max(lengths) == 365
    assert all(text.isascii() and text == text.strip() for text in train.texts + test.texts)


def test_verses_of_each_book_are_complete():
    train, test = datasets.load_verses()
    assert len(train.texts) == 7194 and len(test.texts) == 1794
    verses = Counter(datasets.BOOKS[i] for i in [*train.books, *test.books])
    assert verses == {
        "Genesis": 1533,
        "Psalms": 2461,
        "Proverbs": 915,
        "Isaiah": 1292,
        "Matthew": 1071,
        "John": 879,
        "Romans": 433,
        "Revelation": 404,
    }
    in_test = Counter(datasets.BOOKS[i] for i in test.books)
    assert in_test == {name: count // 5 for name, count in verses.items()}


def test_verses_repeated_across_the_split():
    train, test = datasets.load_verses()
    train_texts = set(train.texts)
    assert sum(text in train_texts for text in test.texts) == 7


# --- all of them


@pytest.mark.parametrize("load", LOADERS)
def test_loading_twice_gives_the_same_and_independent_values(load):
    first, second = flat(load()), flat(load())
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    for member in first:
        if isinstance(member, np.ndarray):
            assert member.flags.writeable
            member[...] = member[0]
        else:
            member.clear()
    for a, b in zip(second, flat(load()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_are_small():
    assert len(DATA_FILES) == len(LOADERS)
    assert sum(path.stat().st_size for path in DATA_FILES) < 1_000_000


def test_licences_name_every_data_file():
    licences = (FOLDER / "LICENSES.md").read_text(encoding="utf-8")
    for path in DATA_FILES:
        assert f"## {path.name}: " in licences
