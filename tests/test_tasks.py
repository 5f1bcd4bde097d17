"""benchmarks/tasks.py: sequences and criteria as defined, the published figures, a short run."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
CASES = ROOT.parent / "shared" / "cases" / "classic_tasks.json"


@pytest.fixture(autouse=True)
def place(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def data():
    return importlib.import_module("task_data")


@pytest.fixture
def tasks():
    return importlib.import_module("tasks")


@pytest.mark.parametrize("multiply", [False, True])
@pytest.mark.parametrize("T", [20, 100])
def test_adding_and_multiplication(data, T, multiply):
    x, lengths, y = data.marked(np.random.default_rng(0), 3000, T, multiply)
    assert x.shape == (3000, T + T // 10, 2) and y.shape == (3000, 1)
    assert set(lengths) == set(range(T, T + T // 10 + 1))
    low = 0 if multiply else -1
    assert low <= x[..., 0].min() < low + 0.01 and 0.99 < x[..., 0].max() <= 1
    places, at_begin = set(), 0
    for row, n, target in zip(x, lengths, y[:, 0], strict=True):
        values, marks = row[:n].T
        assert (row[n:] == 0).all() and marks[0] == marks[-1] == -1
        assert set(marks[1:-1]) == {0, 1}
        marked = np.flatnonzero(marks == 1)
        if len(marked) == 1:  # the other one is the first pair
            at_begin += 1
            assert values[0] == 0
            marked = np.array([0, *marked])
        assert len(marked) == 2 and marked[0] < 10 and marked[1] < T // 2
        places.update(marked)
        one, two = values[marked].astype(float)
        assert target == pytest.approx(one * two if multiply else 0.5 + (one + two) / 4, abs=1e-6)
    assert at_begin > 0 and places == set(range(T // 2))


@pytest.mark.parametrize("symbols", [2, 3])
def test_temporal_order(data, symbols):
    x, lengths, y = data.temporal_order(np.random.default_rng(0), 3000, symbols)
    assert set(lengths) == set(range(100, 111)) and set(y) == set(range(2**symbols))
    ranges = {2: [(10, 20), (50, 60)], 3: [(10, 20), (33, 43), (66, 76)]}[symbols]
    seen = [set() for _ in ranges]
    for row, n, label in zip(x, lengths, y, strict=True):
        assert row[0] == data.BEGIN and row[n - 1] == data.END and (row[n:] == 0).all()
        places = np.flatnonzero((row[:n] == data.X) | (row[:n] == data.Y))
        assert len(places) == symbols
        for found, place in zip(seen, places, strict=True):
            found.add(int(place))
        assert label == int("".join(str(row[p] - data.X) for p in places), 2)
        others = np.delete(row[1 : n - 1], places - 1)
        assert set(others) <= {data.A, data.B, data.C, data.D}
    assert seen == [set(range(low, high + 1)) for low, high in ranges]


def test_long_lag(data):
    q, p = 30, 7
    x, lengths, y = data.long_lag(np.random.default_rng(0), 20000, q, p)
    assert x.shape == (20000, lengths.max()) and lengths.min() == q + 3
    assert lengths.mean() == pytest.approx(q + 3 + 9, abs=0.3)  # the mean of the further symbols
    assert np.mean(lengths == q + 3) == pytest.approx(0.1, abs=0.01)
    every = np.arange(len(x))
    assert set(y) == {0, 1} and (x[:, 1] == p + y).all()
    assert (x[:, 0] == p + 2).all() and (x[every, lengths - 1] == p + 3).all()
    for row, n in zip(x, lengths, strict=True):
        assert row[2 : n - 1].max() < p and (row[n:] == 0).all()
    assert set(x[:, 2]) == set(range(p))


@pytest.mark.parametrize("T", [1, 100])
def test_copy(data, T):
    x, lengths, y = data.copy(np.random.default_rng(0), 200, T)
    assert x.shape == y.shape == (200, T + 20) and (lengths == T + 20).all()
    assert set(x[:, :10].ravel()) == set(range(1, 9))
    assert (x[:, 10:-11] == 0).all() and x[:, 10:-11].shape[1] == T - 1
    assert (x[:, -11:] == 9).all()
    assert (y[:, :-10] == 0).all() and (y[:, -10:] == x[:, :10]).all()


def test_errors(tasks):
    largest, mean = tasks.errors(np.array([[0.5], [0.2]]), np.array([[0.4], [0.5]]))
    assert largest == pytest.approx([0.1, 0.3]) and mean == pytest.approx([0.1, 0.3])
    p = np.array([[[0.7, 0.3], [0.1, 0.9]], [[0.5, 0.5], [1.0, 0.0]]])
    largest, mean = tasks.errors(p, np.array([[0, 1], [1, 0]]))
    assert largest == pytest.approx([0.3, 0.5]) and mean == pytest.approx([0.2, 0.25])
    largest, _ = tasks.errors(p[:, 0], np.array([1, 0]))
    assert largest == pytest.approx([0.7, 0.5])


def test_criteria_on_both_sides(tasks):
    adding, _ = tasks.TASKS["adding-100"].goals[0]
    small, window = np.full(2500, 0.009), adding.window
    assert window == 2000 and tasks.met(adding, small, small)
    assert not tasks.met(adding, small[:1999], small[:1999])  # too few
    assert tasks.met(adding, small[:2000], small[:2000])
    assert not tasks.met(adding, small, np.full(2500, 0.011))  # the mean is too large
    for place, good in ((500, False), (499, True), (2499, False)):
        largest = small.copy()
        largest[place] = 0.04
        assert tasks.met(adding, largest, small) is good
        largest[place] = 0.0399
        assert tasks.met(adding, largest, small)
    for (product, _), allowed in zip(tasks.TASKS["multiplication-100"].goals, (139, 12),
                                     strict=True):  # fmt: skip
        largest = np.zeros(2000)
        largest[:allowed] = 0.5
        assert tasks.met(product, largest, largest)
        largest[allowed] = 0.5
        assert not tasks.met(product, largest, largest)
    order, _ = tasks.TASKS["order-6a"].goals[0]
    largest, mean = np.full(2000, 0.29), np.full(2000, 0.05)
    assert tasks.met(order, largest, mean) and not tasks.met(order, largest, 2.1 * mean)
    assert not tasks.met(order, 1.1 * largest, mean)
    lag, _ = tasks.TASKS["lag-1000-50"].goals[0]
    largest = np.full(10000, 0.19)
    assert tasks.met(lag, largest, largest) and not tasks.met(lag, largest[1:], largest[1:])
    largest[0] = 0.2
    assert not tasks.met(lag, largest, largest)


@pytest.mark.skipif(not CASES.exists(), reason="the published figures are not beside the project")
def test_published_figures(tasks):
    published = {case["task"].split()[0]: case["rows"]
                 for case in json.loads(CASES.read_text())["tasks"]}  # fmt: skip

    def goals(name):
        return tasks.TASKS[name].goals

    assert len(published["2c"]) == sum(name.startswith("lag-") for name in tasks.TASKS)
    for case in published["2c"]:
        [(_, figures)] = goals(f"lag-{case['lag_q']}-{case['p']}")
        assert figures == (case["weights"], case["sequences"], None)
    for case in published["4"]:
        [(_, figures)] = goals(f"adding-{case['T']}")
        assert figures == (case["weights"], case["sequences"], case["wrong_of_2560"])
    for case, (criterion, figures) in zip(published["5"], goals("multiplication-100"),
                                          strict=True):  # fmt: skip
        assert criterion.wrong == case["n_seq"]
        assert figures == (case["weights"], case["sequences"], case["wrong_of_2560"])
    for name in ("6a", "6b"):
        [case] = published[name]
        [(_, figures)] = goals(f"order-{name}")
        assert figures == (case["weights"], case["sequences"], case["wrong_of_2560"])
    bai = json.loads(CASES.read_text())["modern"]["lstm"]["Copy memory T=1000 loss (16K)"]
    assert bai == tasks.BAI_LSTM_COPY


def test_lags_grow_while_the_loss_is_small(tasks):
    lags = tasks.lags(30, 1.5)
    seen = [next(lags)]
    for _ in range(100):  # without a memory: log 8 for each of the 10 digits
        seen.append(lags.send(10 * np.log(8) / (seen[-1] + 20)))
    assert set(seen) == {1}
    for _ in range(2000):
        seen.append(lags.send(0.0))
    assert sorted(set(seen)) == [1, 2, 3, 4, 6, 10, 15, 22, 30] and seen == sorted(seen)
    assert 90 < seen.count(2) < 100  # 0.98^n < 0.15


def test_a_short_run(tasks, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "RESULTS", tmp_path)
    monkeypatch.setattr(tasks.clstm.config, "set_num_threads", lambda threads: None)
    short = tasks.TASKS["order-6a"]
    easy = tasks.Criterion(100, 2.0)  # every error is below 2
    monkeypatch.setitem(tasks.TASKS, "order-6a", short._replace(goals=[(easy, short.goals[0][1])]))
    names = ["adding-100", "multiplication-100", "order-6a", "lag-50-50", "copy-100"]
    assert tasks.main(["--only", *names, "--seeds", "2", "--budget", "0", "--name", "short"]) == 0
    results = json.loads((tmp_path / "short.json").read_text())
    assert list(results["tasks"]) == names
    for name in set(names) - {"order-6a"}:
        for run in results["tasks"][name]["runs"]:
            assert len(run["goals"]) == len(tasks.TASKS[name].goals)
            for goal in run["goals"]:
                assert not goal["solved"] and "test" not in goal
                assert goal["sequences"] == goal["last"]["of"] == tasks.TASKS[name].settings.batch
    assert len(results["tasks"]["adding-100"]["runs"]) == 2
    capsys.readouterr()
    assert tasks.main(["--only", "order-6a", "--seeds", "1", "--name", "short"]) == 0
    [run] = json.loads((tmp_path / "short.json").read_text())["tasks"]["order-6a"]["runs"]
    [goal] = run["goals"]
    batch = short.settings.batch
    assert goal["solved"] and goal["sequences"] == -(-100 // batch) * batch
    assert goal["test"] | {"loss": 0} == {"wrong": 0, "of": 2560, "loss": 0}
    printed = capsys.readouterr().out
    assert tasks.main(["--table", "--name", "short"]) == 0
    shown = capsys.readouterr().out
    assert printed.endswith(shown) and "not solved" in shown and "1 of 1" in shown
    with pytest.raises(SystemExit):
        tasks.main(["--only", "adding-99"])
