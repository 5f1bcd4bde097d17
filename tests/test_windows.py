"""Windows of series without copies, data larger than memory, threads that read ahead, buckets."""

import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

import clstm
from clstm import LSTM, Dense, Input, Model, Sequential
from clstm.data import Buckets, prefetch, windows
from clstm.data.rows import Rows

RNG = np.random.default_rng(0)


def by_hand(parts, past, horizon, stride, columns):
    x, y, series, begins = [], [], [], []
    for k, part in enumerate(parts):
        for begin in range(past, len(part) - horizon + 1, stride):
            x.append(part[begin - past : begin])
            y.append(part[begin : begin + horizon][:, columns])
            series.append(k)
            begins.append(begin)
    return np.array(x), np.array(y), series, begins


@pytest.mark.parametrize("stride", [1, 3, 50])
@pytest.mark.parametrize("targets", [None, [1], [1, 2], [2, 0]])
@pytest.mark.parametrize("lengths", [[20], [9], [20, 9, 14]])
def test_windows_by_hand(lengths, targets, stride):
    parts = [RNG.normal(size=(n, 3)) for n in lengths]
    w = windows(parts if len(parts) > 1 else parts[0], 5, 4, stride, targets=targets)
    x, y, series, begins = by_hand(parts, 5, 4, stride, targets or [0, 1, 2])
    assert w.x.shape == x.shape and w.y.shape == y.shape
    np.testing.assert_array_equal(w.x, x)
    np.testing.assert_array_equal(w.y, y)
    assert w.series.tolist() == series and w.begins.tolist() == begins
    assert w.known is None and w.static is None


def test_one_series_gives_views():
    part = RNG.normal(size=(30, 2))
    w = windows(part, 6, 2, 2, known=part[:, :1])
    for view in (w.x, w.y, w.known):
        assert isinstance(view, np.ndarray) and np.shares_memory(view, part)


def test_forms_of_series():
    batch = RNG.normal(size=(3, 12, 2)).astype("f4")
    w = windows(batch, 4, 2)
    assert w.x.shape == (21, 4, 2) and w.x.dtype == np.float32
    np.testing.assert_array_equal(w.x[7:14], windows(batch[1], 4, 2).x)
    flat = np.arange(10)
    assert windows(flat, 3, 1).x[..., 0].tolist()[-1] == [6, 7, 8]
    frame = pd.DataFrame(batch[0], index=pd.date_range("2020", periods=12))
    np.testing.assert_array_equal(windows(frame, 4, 2).y, windows(batch[0], 4, 2).y)
    np.testing.assert_array_equal(windows([frame, frame], 4, 2).y[7:], windows(frame, 4, 2).y)


def test_covariates():
    parts = [RNG.normal(size=(n, 1)) for n in (10, 8)]
    known = [RNG.normal(size=(n, 2)) for n in (10, 9)]
    static = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    w = windows(parts, 3, 2, known=known, static=static)
    np.testing.assert_array_equal(w.static, np.repeat(static, [6, 4], axis=0))
    for k in range(len(w.begins)):
        at = w.begins[k]
        np.testing.assert_array_equal(w.known[k], known[w.series[k]][at : at + 2])
    one = windows(parts[0], 3, 2, static=[7.0])
    np.testing.assert_array_equal(one.static, np.full((6, 1), 7.0))


@pytest.mark.parametrize(("arguments", "words"), [
    ((np.ones(10), 0, 1), "past: expected at least 1"),
    ((np.ones(10), 3, 0), "horizon: expected at least 1, got 0"),
    ((np.ones(10), 3, 1, 0), "stride: expected at least 1"),
    ((np.ones(10), 8, 3), "series: expected at least 11 rows, past and horizon, got 10"),
    (([np.ones(10), np.ones(4)], 3, 2), r"series\[1\]: expected at least 5 rows.*got 4"),
    (([np.ones((9, 1)), np.ones((9, 2))], 3, 2), r"series\[1\]: expected 1 features"),
    ((np.ones((2, 2, 2, 2)), 1, 1), r"series: expected series \(T,\) or \(T, F\)"),
    (([[1.0], [[1.0], [2.0, 3.0]]], 1, 1), r"series\[1\]: expected a rectangular array"),
    (([], 1, 1), "series: expected at least one"),
    ((pd.Series(np.ones(4), pd.to_datetime(["2020", "2022", "2021", "2023"])), 1, 1),
     r"series: expected times that rise, got 2021-01-01.* at row 2 after 2022"),
    ((pd.Series(np.ones(3), pd.to_datetime(["2020", "2020", "2021"])), 1, 1),
     r"series: expected times that rise, got 2020-01-01.* at row 1 after 2020"),
])  # fmt: skip
def test_windows_that_cannot_be(arguments, words):
    with pytest.raises(ValueError, match=words):
        windows(*arguments)


def test_covariates_that_cannot_be():
    two = [np.ones(8), np.ones(9)]
    for options, words in (
        ({"targets": []}, "targets: expected at least one column"),
        ({"targets": [1]}, "targets: expected columns in 0 .. 0, got 1"),
        ({"known": np.ones(9)}, "known: expected 2 series, got 1"),
        ({"known": [np.ones(8), np.ones(8)]}, r"known: expected 9 rows, as series\[1\] has, got 8"),
        ({"static": np.ones(2)}, r"static: expected \(2, S\), got shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            windows(two, 2, 2, **options)


def test_rows_stand_for_an_array():
    a = RNG.normal(size=(9, 2, 3))
    rows = Rows(lambda places: a[places], a.shape, a.dtype)
    assert (len(rows), rows.ndim, rows.size) == (9, 3, 54)
    np.testing.assert_array_equal(rows, a)
    np.testing.assert_array_equal(np.asarray(rows, np.float32), a.astype("f4"))
    for place in (slice(2, 7), slice(None, None, 2), [3, 1], a[:, 0, 0] > 0, 4, -1):
        np.testing.assert_array_equal(rows[place], a[place])
    np.testing.assert_array_equal(rows[2:8][1:].take([0, -1]), a[[3, 7]])
    with pytest.raises(IndexError, match=r"rows: expected 0 .. 8"):
        rows[9]
    assert rows[[]].shape == (0, 2, 3)
    with pytest.raises(IndexError, match="rows: expected 9 booleans, got 3"):
        rows[[True, False, True]]
    with pytest.raises(TypeError, match="rows: expected numbers of rows"):
        rows.take([1], axis=1)
    for place in ([[1]], (slice(None), 0)):
        with pytest.raises(TypeError, match="rows: expected a slice"):
            rows[place]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_a_model_learns_the_same_from_windows_as_from_their_copies(several, shuffle):
    parts = [np.sin(0.3 * np.arange(n))[:, None] for n in ((40, 30) if several else (60,))]
    w = windows(parts if several else parts[0], 8, 3)

    def learn(x, y):
        clstm.set_seed(3)
        model = Sequential([LSTM(4), Dense(3), clstm.layers.Reshape((3, 1))])
        model.compile("adam", "mse", metrics=["mae"])
        history = model.fit(x, y, batch_size=7, epochs=2, validation_split=0.2, shuffle=shuffle,
                            verbose=0).history  # fmt: skip
        return [*model.get_weights(), model.predict(x), model.evaluate(x, y, verbose=0),
                history["val_mae"], model.train_on_batch(x, y)]  # fmt: skip

    for a, b in zip(learn(w.x, w.y), learn(np.array(w.x), np.array(w.y)), strict=True):
        np.testing.assert_array_equal(a, b)


# A series on disk eight times as large as what may be allocated beside what Python has already.
LARGER_THAN_MEMORY = """
import resource, sys
import numpy as np
from clstm import LSTM, Dense, Sequential
from clstm.data import windows

path, kind = sys.argv[1:]
rows = 1 << 22
series = np.memmap(path, np.float32, "r", shape=(rows, 4))  # 64 MiB
w = windows(series if kind == "one" else [series, series[: rows // 2]], 16, 1, 128, targets=[0])
model = Sequential([LSTM(4, input_shape=(16, 4)), Dense(1)])
model.compile("adam", "mse")
model.train_on_batch(w.x[:64], w.y[:64])  # what is made once is there
with open("/proc/self/status") as file:
    now = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData:"))
resource.setrlimit(resource.RLIMIT_DATA, (now + series.nbytes // 8, -1))
try:
    np.array(series)
    sys.exit("the limit is none")
except MemoryError:
    pass
history = model.fit(w.x, w.y, batch_size=64, verbose=0).history
assert np.isfinite(history["loss"]).all()
model.evaluate(w.x, w.y, batch_size=64, verbose=0)
print("fitted", len(w.x))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
@pytest.mark.parametrize("kind", ["one", "several"])
def test_a_series_eight_times_larger_than_the_memory(tmp_path, kind):
    rng = np.random.default_rng(1)
    rng.normal(size=(1 << 22, 4)).astype("f4").tofile(tmp_path / "series")
    done = subprocess.run([sys.executable, "-c", LARGER_THAN_MEMORY, tmp_path / "series", kind],
                          cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fitted ")


# --- reading ahead -----------------------------------------------------------------------------


def threads():
    return [t for t in threading.enumerate() if t.name == "clstm prefetch"]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_prefetch_gives_the_same_items_in_order(size):
    items = list(range(30))
    again = prefetch(items, size)
    assert list(again) == list(again) == items
    once = prefetch(iter(items), size)
    assert next(once) == 0 and list(once) == items[1:] and list(once) == []
    assert not threads()


def test_prefetch_reads_no_more_than_asked():
    read, closed = [], []

    def source():
        try:
            for k in range(100):
                read.append(k)
                yield k
        finally:
            closed.append(True)

    ahead = prefetch(source(), 3)
    assert next(ahead) == 0
    ahead.close()
    assert not threads() and len(read) <= 6  # 1 given, 3 waiting, 1 in hand, 1 begun
    assert closed == [True]


def test_prefetch_raises_what_the_source_raises():
    def source():
        yield 1
        raise OSError("gone")

    ahead = prefetch(source())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)
    assert not threads()
    with pytest.raises(TypeError, match="source: expected an iterable"):
        prefetch(3)
    with pytest.raises(ValueError, match="size: expected at least 1"):
        prefetch([], 0)


def test_a_model_learns_the_same_from_batches_that_are_read_ahead():
    x, y = RNG.normal(size=(20, 4, 2)).astype("f4"), RNG.normal(size=(20, 1))
    batches = [(x[k : k + 5], y[k : k + 5]) for k in range(0, 20, 5)]

    def learn(source):
        clstm.set_seed(0)
        model = Sequential([LSTM(3, input_shape=(4, 2)), Dense(1)])
        model.compile("adam", "mse")
        model.fit(source, epochs=3, verbose=0)
        return model.get_weights()

    class Batches:
        def __iter__(self):
            return iter(batches)

    for a, b in zip(learn(Batches()), learn(prefetch(Batches())), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not threads()


# --- buckets -----------------------------------------------------------------------------------

LENGTHS = [3, 5, 3, 8, 5, 3, 5, 1]
SEQUENCES = [np.full((n, 2), k + 1.0) for k, n in enumerate(LENGTHS)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_buckets_without_padding(shuffle):
    batches = Buckets(SEQUENCES, np.arange(8), 2, shuffle=shuffle)
    found = list(batches)
    assert len(found) == len(batches) == 6
    seen = []
    for x, y in found:
        assert 1 <= len(x) <= 2
        for row, k in zip(x, y, strict=True):
            np.testing.assert_array_equal(row, SEQUENCES[k])
            seen.append(k)
    assert sorted(seen) == list(range(8))


@pytest.mark.parametrize("shuffle", [False, True])
def test_buckets_with_padding(shuffle):
    labels = [np.full(n, k) for k, n in enumerate(LENGTHS)]
    batches = Buckets(SEQUENCES, labels, 3, pad=True, shuffle=shuffle)
    found = list(batches)
    assert len(found) == len(batches) == 3
    seen = []
    for (x, lengths), y in found:
        assert x.shape[1] == lengths.max() == y.shape[1]
        for row, n, marks in zip(x, lengths, y, strict=True):
            k = marks[0]
            np.testing.assert_array_equal(row[:n], SEQUENCES[k])
            assert (row[n:] == 0).all() and (marks[:n] == k).all()
            seen.append(k)
    assert sorted(seen) == list(range(8))
    padding = sum(x.shape[1] * len(x) - n.sum() for (x, n), _ in found)
    assert padding <= 4 + 3 * 2  # neighbours in length


def test_buckets_draw_anew_and_as_the_seed_says():
    def passes(**options):
        batches = Buckets([np.ones((1, 1))] * 50, np.arange(50), 50, **options)
        return [next(iter(batches))[1].tolist() for _ in range(2)]

    first, second = passes(seed=4)
    assert first != second and passes(seed=4) == [first, second]
    state = clstm.random.get_state()
    passes(seed=4)
    passes(shuffle=False)
    assert clstm.random.get_state() == state
    drawn = passes()
    clstm.random.set_state(state)
    assert passes() == drawn and drawn[0] != drawn[1]


def test_a_model_learns_from_buckets():
    x, lengths = Input((None, 2)), Input(())
    model = Model([x, lengths], Dense(1)(LSTM(3)(x, lengths=lengths)))
    model.compile("adam", "mse")
    history = model.fit(Buckets(SEQUENCES, np.arange(8) / 8, 4, pad=True), epochs=3, verbose=0)
    assert len(history.history["loss"]) == 3
    one = Sequential([LSTM(3, input_shape=(None, 2)), Dense(1)])
    one.compile("adam", "mse")
    one.fit(Buckets(SEQUENCES, np.arange(8) / 8), verbose=0)
    assert one.predict(Buckets(SEQUENCES, shuffle=False)).shape == (8, 1)


def test_buckets_that_cannot_be():
    for arguments, error, words in (
        (([],), TypeError, "sequences: expected a list of at least one array"),
        (([np.ones((2, 1)), np.ones((2, 2))],), ValueError, r"sequences\[1\]: expected features"),
        (([np.ones((2, 1)), np.ones((0, 1))],), ValueError, r"sequences\[1\]: expected at l"),
        (([[[1.0], [2.0, 3.0]]],), ValueError, r"sequences\[0\]: expected a rectangular"),
        ((SEQUENCES, np.arange(7)), ValueError, "y: expected 8 rows, as many as sequences, got 7"),
        ((SEQUENCES, [np.ones(3)] * 8), ValueError, r"y\[1\]: expected 5 steps.*got 3"),
        ((SEQUENCES, None, 0), ValueError, "batch_size: expected at least 1"),
    ):
        with pytest.raises(error, match=words):
            Buckets(*arguments)
