"""The benchmark runner: its shapes, its statistics, its tables, and a run with clstm alone."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
DEEPBENCH = ROOT.parent / "shared" / "cases" / "deepbench_lstm.json"


@pytest.fixture
def bench(monkeypatch):
    """A function that imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def result(section, rounds, mode="forward", shape=(1, 2, 3, 4), **more):
    libraries = {label: {"correct": True, "max_abs_diff": 0.0, "rounds": times}
                 for label, times in rounds.items()}  # fmt: skip
    return {"section": section, "mode": mode, "shape": list(shape), "source": "clstm",
            "libraries": libraries, **more}  # fmt: skip


def made_up():
    first = result("layer", {"clstm-native": [1e-3, 2e-3, 4e-3], "clstm-numpy": [1e-2, 4e-2, 6e-2],
                             "torch": [2e-3, 6e-3, 8e-3], "jax": [9.0, 9.0, 9.0]},
                   flops=4e7)  # fmt: skip
    second = result("layer", {"clstm-native": [2e-3], "torch": [1e-3]}, shape=(5, 6, 7, 8),
                    flops=4e7)  # fmt: skip
    second["libraries"]["openvino"] = {"correct": False, "max_abs_diff": 0.5, "rounds": []}
    ragged = result("ragged", {"clstm-native": [1.0], "clstm-native/dense": [2.0], "torch": [9.0],
                               "torch/padded": [0.5]}, tokens=200, real_tokens=100,
                    shortest=10)  # fmt: skip
    fit = result("fit", {"clstm-native": [0.02], "keras-jax": [0.08], "torch": [0.1]},
                 sequences=3200)  # fmt: skip
    return {
        "format": 1, "name": "made-up", "date": "2000-01-02T03:04:05+00:00", "threads": 2,
        "machine": {"cpu": "A CPU", "cpu_family_model": "1/2", "architecture": "x"},
        "peak": {"gflops": 100.0, "gflops_one_thread": 50.0, "vectors": "AVX2", "threads": 2},
        "versions": {"torch": {"torch": "9.9+cpu"}}, "missing": {"openvino": "not there"},
        "skipped": [{"shape": [9, 9, 9, 9], "mode": "train", "reason": "needs too much"}],
        "results": [first, second, ragged, fit],
        "memory": {"shape": [1, 2, 3, 4], "libraries": {"torch": {"bytes": 3 << 20}}},
        "import": {"seconds": {"clstm": 0.1, "numpy": 0.06}, "installed_bytes": 4 << 20},
    }  # fmt: skip


def test_shapes(bench):
    shapes = bench("shapes")
    assert len(shapes.SHAPES) == len(set(shapes.SHAPES)) == 10
    assert shapes.parse("32x100x128x64") == (32, 100, 128, 64)
    with pytest.raises(ValueError, match="four positive numbers"):
        shapes.parse("1x2x3")
    assert shapes.flops((2, 3, 5, 7), "forward") == 2 * 2 * 3 * 4 * 7 * (5 + 7)
    assert shapes.flops((2, 3, 5, 7), "train") == 3 * shapes.flops((2, 3, 5, 7), "forward")
    huge = (128, 25, 4096, 4096)
    assert "GiB" in shapes.too_much(huge, "train", 8, 3, 1 << 30, 100, 300)
    assert "budget of a library is 60 s" in shapes.too_much(huge, "train", 8, 3, 1 << 50, 100, 60)
    assert shapes.too_much(huge, "train", 8, 3, 1 << 50, 100, 300) is None
    assert shapes.too_much(huge, "train", 8, 3, 1 << 50, None, 60) is None
    assert shapes.too_much((1, 1, 8, 8), "train", 8, 3, 1 << 30, 100, 300) is None


@pytest.mark.skipif(not DEEPBENCH.exists(), reason="the published list is not here")
def test_deepbench_shapes_are_the_published_ones(bench):
    published = json.loads(DEEPBENCH.read_text())["problems"]
    got = {mode: [(p.shape[3], p.shape[0], p.shape[1], "lstm") for p in bench("shapes").deepbench()
                  if (mode == "train") == ("train" in p.modes)]
           for mode in ("train", "forward")}  # fmt: skip
    assert set(got["train"]) == set(map(tuple, published["training_set"]))
    assert set(got["forward"]) == set(map(tuple, published["inference_server_set"]))
    assert set(map(tuple, published["inference_device_set"])) <= set(got["forward"])


def test_statistics(bench):
    figures = bench("figures")
    first, second, ragged, _ = made_up()["results"]
    assert figures.ours(first) == "clstm-native"
    assert figures.median(first, "torch") == 6e-3
    assert figures.ratio(first, "torch", "clstm-native") == 2  # of 2, 3, 2: not of the medians
    assert figures.fastest_rival(first) == "torch"
    assert figures.against_fastest(second) == 0.5
    assert figures.against_baseline(first) == 15
    assert figures.against_baseline(second) is None
    assert figures.median(second, "openvino") is None
    assert figures.rivals(ragged) == ["torch"]
    assert figures.peak_fraction(first, "clstm-native", 100.0) == pytest.approx(0.2)
    assert figures.geometric_mean([2, None, 0.5, 8]) == pytest.approx(2)
    assert figures.geometric_mean([]) is None


def test_differences(bench, tmp_path):
    import numpy as np

    measure = bench("measure")
    np.savez(tmp_path / "a.npz", y=np.float32([1, 2, 50]))
    np.savez(tmp_path / "b.npz", y=np.float32([1, 3, 50]))
    np.savez(tmp_path / "nan.npz", y=np.float32([1, np.nan, 50]))
    names = [str(tmp_path / f"{n}.npz") for n in ("a", "b", "nan")]
    assert measure.difference(names[0], names[1]) == (1, pytest.approx(1 / 50))
    assert math.isnan(measure.difference(names[2], names[1])[1])


class FakePool:
    """Workers of which each takes so many seconds for a call, or dies at its second round."""

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []
        self.workers = dict.fromkeys(seconds, self)
        self.rounds = dict.fromkeys(seconds, 0)

    def discard(self, worker):
        del self.workers[worker]

    def ask(self, do, key=None, save=None, **_):
        import numpy as np
        from pool import WorkerError

        self.asked.append((do, key))
        if save:
            np.savez(save, y=np.ones(3))
        if do == "time":
            self.rounds[key] += 1
            if key.startswith("dies") and self.rounds[key] == 2:
                raise WorkerError("it died")
        return {"seconds": self.seconds.get(key), "calls": 1}


def measured(bench, seconds, budget):
    measure = bench("measure")
    entries = {label: (label, {"task": "forward", "shape": [1, 1, 1, 1]}) for label in seconds
               if label != "clstm-numpy"}  # fmt: skip
    settings = measure.Settings(rounds=9, block=0.1, gap=0, budget=budget)
    pool = FakePool(seconds)
    return measure.measure(pool, entries, settings), pool


def test_a_slow_library_is_left_out_and_the_others_are_measured(bench):
    found, pool = measured(bench, {"clstm-numpy": 99, "fast": 0.01, "slow": 2.5, "slower": 4}, 10)
    assert len(found["fast"]["rounds"]) == len(found["slow"]["rounds"]) == 4  # what 2.5 s allow
    assert found["slower"]["rounds"] == [] and found["slower"]["correct"]
    assert found["slower"]["left_out"] == (
        "a call takes 4 s, 3 rounds are more than its budget of 10 s")  # fmt: skip
    assert ("drop", "slower") in pool.asked
    assert [do for do, _ in pool.asked].count("check") == 1  # by a baseline that is not timed


def test_a_library_that_dies_in_its_rounds_is_named_and_the_others_go_on(bench):
    found, _ = measured(bench, {"clstm-numpy": 1, "dies": 0.01, "fast": 0.01}, 10)
    assert found["dies"] == {"error": "it died"} and len(found["fast"]["rounds"]) == 9


def test_the_decaying_input_is_subnormal(bench, monkeypatch):
    import numpy as np

    monkeypatch.syspath_prepend(str(BENCHMARKS / "workers"))
    case = {"task": "train", "shape": [2, 40, 3, 5]}
    ordinary, decayed = bench("cases").layer(case), bench("cases").layer({**case, "decay": True})
    assert (decayed.x[:, 0] == ordinary.x[:, 0]).all()
    late = np.abs(decayed.x[:, 20:])
    assert 0 < late.max() <= 2.01e-40 and (decayed.dy == ordinary.dy).all()


def test_subnormals_and_odd_sizes_in_the_tables(bench):
    tables = bench("tables")
    decay = result("denormals", {"clstm-native": [2.0], "clstm-native/decay": [2.1],
                                 "torch": [1.0], "torch/decay": [3.0]})  # fmt: skip
    odd = result("odd", {"clstm-native": [2.0], "clstm-native/100": [2.0],
                         "clstm-native/97": [4.0], "torch": [1.0], "torch/100": [1.0]},
                 "train", (32, 100, 112, 112),
                 flops_at={"112": 100, "100": 80, "97": 75})  # fmt: skip
    data = {**made_up(), "results": [decay, odd]}
    data["results"][1]["libraries"]["jax"] = {"correct": True, "rounds": [],
                                              "left_out": "too slow"}  # fmt: skip
    long = tables.everything(data)
    assert "| time, input to 1e-40 over ordinary, forward | 1.05× | 3.00× | – |" in long
    train = "112, forward + backward"
    assert f"| speed per FLOP, H = 100 over {train} | 0.800× | 0.800× | – |" in long
    assert f"| speed per FLOP, H = 97 over {train} | 0.375× | – | – |" in long
    assert "- jax, odd train (32, 100, 112, 112): too slow" in long
    assert tables.extremes(data) in tables.readme(data)
    assert tables.extremes(made_up()) == ""


def test_report(bench, tmp_path):
    report = bench("report")
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "made-up.json").write_text(json.dumps(made_up()))
    for page in (tmp_path / "README.md", tmp_path / "benchmarks" / "README.md"):
        page.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    assert report.main(["--root", str(tmp_path)]) == 0
    short = (tmp_path / "README.md").read_text()
    assert short.startswith("before\n") and short.endswith("after\n") and "old" not in short
    assert "| 1, 2, 3, 4 | 2.00 | 6.00 torch | 2.00× | 15.0× | 20% |" in short
    assert "| 5, 6, 7, 8 | 2.00 | 1.00 torch | 0.500× | – | 20% |" in short
    assert "| geometric mean |  |  | 1.00× | 15.0× |  |" in short
    assert "1.00 of clstm's dense case" in short and "(9.00×)" in short
    assert "clstm-native 160,000, keras-jax 40,000, torch 32,000" in short
    assert "4.00× the best Keras backend (keras-jax); 5.00× a PyTorch loop" in short
    long = (tmp_path / "benchmarks" / "README.md").read_text()
    assert "- openvino: not there" in long and "differs from the reference by 0.5" in long
    assert "(9, 9, 9, 9) train: needs too much" in long
    pictures = {path.name for path in (tmp_path / "benchmarks" / "plots").iterdir()}
    assert pictures == {"made-up-forward.png", "made-up-forward-peak.png"}
    before = short
    assert report.main(["--root", str(tmp_path), "--no-plots"]) == 0
    assert (tmp_path / "README.md").read_text() == before
    (tmp_path / "README.md").write_text("no markers\n")
    assert report.main(["--root", str(tmp_path), "--no-plots"]) == 1


def test_quick_run_with_clstm_alone(tmp_path):
    from clstm import config

    labels = [f"clstm-{name}" for name in config.BACKENDS]
    out = tmp_path / "quick.json"
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare.py"), "--quick", "--only", *labels, "torch",
         "--rivals-python", "/nonexistent/python", "--output", str(out)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    data = json.loads(out.read_text())
    assert "torch" in data["missing"] and set(data["versions"]) == set(labels)
    assert len(data["results"]) == 6
    for found in data["results"]:
        assert set(found["libraries"]) == set(labels)
        for entry in found["libraries"].values():
            assert entry["correct"] and len(entry["rounds"]) == 3 and min(entry["rounds"]) > 0
    assert str(tmp_path) not in out.read_text()


def test_sections_of_one_library_leave_the_baseline_as_the_check(tmp_path):
    out = tmp_path / "more.json"
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / "compare.py"), "--quick", "--only", "clstm-native",
         "--sections", "denormals", "odd", "--output", str(out)],
        capture_output=True, text=True, timeout=300, cwd=tmp_path)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads(out.read_text())["results"]
    assert [(r["section"], r["mode"]) for r in results] == [
        (name, mode) for name in ("denormals", "odd") for mode in ("forward", "train")]  # fmt: skip
    for found in results[:2]:
        assert set(found["libraries"]) == {"clstm-native", "clstm-native/decay"}
    for found in results[2:]:
        sizes = {f"clstm-native/{size}" for size in (97, 100, 113, 127)}
        assert set(found["libraries"]) == {"clstm-native", *sizes}
        assert set(found["flops_at"]) == {"97", "100", "112", "113", "127"}
    assert all(entry["correct"] for r in results for entry in r["libraries"].values())


def test_missing_weeks(bench):
    missing = bench("missing")
    np = missing.np
    _, values = missing.series()
    for kind in missing.KINDS:
        for share in missing.SHARES:
            hidden = missing.hide(values, share, kind, np.random.default_rng(0))
            known = ~np.isnan(values)
            assert not hidden[~known].any()
            assert hidden[known].mean() == pytest.approx(share, abs=0.015)
            edges = np.count_nonzero(np.diff(hidden.astype(int)))
            assert (edges < 0.3 * hidden.sum()) == (kind == "blocks")
    found = {"linear": {"mae": 0.25, "mae_later": 0.5, "forecast": 1.0}, "kept": {"forecast": 2.0}}
    runs = [{"seed": 1, "kind": kind, "share": share, "found": found}
            for kind in missing.KINDS for share in missing.SHARES]  # fmt: skip
    text = missing.report({"runs": runs})
    assert text.count("linear") == 3 and text.count("kept") == 1 and "0.250" in text
