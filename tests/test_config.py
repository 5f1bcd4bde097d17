"""Threads, backend, instruction set: functions and environment."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm import config
from clstm._kernels import _parallel


@pytest.fixture(autouse=True)
def as_before():
    kept = config.get_num_threads(), config.get_backend(), config.get_isa()
    yield
    config.set_num_threads(kept[0])
    config.set_backend(kept[1])
    config.set_isa(kept[2])


def run(code, **environment):
    """(return code, output) of a fresh Python."""
    inherited = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS" and "CLSTM" not in k}
    done = subprocess.run([sys.executable, "-c", code], env={**inherited, **environment},
                          capture_output=True, text=True, cwd="/")  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).strip()


SHOW = "from clstm import config as c; print(c.get_num_threads(), c.get_backend(), c.get_isa())"


class TestThreads:
    @pytest.mark.parametrize(("threads", "error"), [(0, ValueError), (1025, ValueError),
                                                    (1.0, TypeError), (True, TypeError),
                                                    ("2", TypeError)])  # fmt: skip
    def test_errors(self, threads, error):
        config.set_num_threads(3)
        with pytest.raises(error, match="threads: "):
            config.set_num_threads(threads)
        assert config.get_num_threads() == 3

    def test_the_number_changes_no_training(self):
        x = np.random.default_rng(0).normal(size=(40, 5, 3))
        y = x.sum(axis=(1, 2)) > 0
        runs = []
        for threads in (1, 2, 3, 5):
            config.set_num_threads(threads)
            clstm.set_seed(1)
            model = clstm.Sequential([clstm.Input((5, 3)), clstm.LSTM(8, dropout=0.2),
                                      clstm.Dense(1, activation="sigmoid")])  # fmt: skip
            model.compile("adam", "binary_crossentropy")
            losses = model.fit(x, y, epochs=2, batch_size=16, verbose=0).history["loss"]
            runs.append((losses, model.predict(x)))
        for losses, p in runs[1:]:
            np.testing.assert_allclose(losses, runs[0][0], rtol=1e-5)
            np.testing.assert_allclose(p, runs[0][1], atol=1e-5)


class TestOversubscription:
    """The default is never more than the process may use; what limits others limits us."""

    def test_affinity_at_the_import(self):
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("no affinity on this system")
        pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        assert run(pin + SHOW)[1].startswith("1 ")
        assert run(pin + SHOW, CLSTM_NUM_THREADS="3")[1].startswith("3 ")  # as the user says

    def test_affinity_after_the_import(self):
        if not hasattr(os, "sched_setaffinity") or config.usable_cores() < 2:
            pytest.skip("no affinity on this system, or one core")
        code, out = run(
            "import os; from clstm import config as c; cores = os.sched_getaffinity(0); "
            "all = c.get_num_threads(); os.sched_setaffinity(0, {min(cores)}); "
            "from clstm._kernels import _parallel as p; few = c.get_num_threads(), p.size(99, 1); "
            "os.sched_setaffinity(0, cores); print(all == c.get_num_threads(), *few); "
            "c.set_num_threads(7); os.sched_setaffinity(0, {min(cores)}); "
            "print(c.get_num_threads())"
        )
        assert (code, out.split()) == (0, ["True", "1", "1", "7"])

    def test_threadpoolctl(self):
        threadpoolctl = pytest.importorskip("threadpoolctl")
        if not _parallel.openmp():
            pytest.skip("a build without OpenMP has nothing that threadpoolctl knows")
        config.set_num_threads(4)
        with threadpoolctl.threadpool_limits(1):
            assert config.get_num_threads() == _parallel.size(1 << 40, 1) == 1
        with threadpoolctl.threadpool_limits({"libgomp": 3, "libomp": 3}):
            assert config.get_num_threads() == 3
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            assert config.get_num_threads() == 4
        assert config.get_num_threads() == _parallel.size(1 << 40, 1) == 4

    def test_work_that_cannot_be_counted(self):
        config.set_num_threads(4)
        assert _parallel.size(10**30, 1) == 4


class TestQuota:
    """Of a cgroup, read from files as Linux has them."""

    V1 = "32 31 0:29 {root} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct"
    V2 = "41 31 0:38 {root} {point} rw,relatime - cgroup2 cgroup2 rw"

    @pytest.fixture
    def quota(self, tmp_path):
        """A function of a mount's line, its root, /proc/self/cgroup, and {file: text} below it."""

        def quota(line, root, cgroup, files):
            proc, point = tmp_path / "proc", tmp_path / "mount"
            for folder in (proc, point):
                folder.mkdir()
            (proc / "cgroup").write_text(f"9:name=systemd:/x\n3:cpuset:/y\n{cgroup}\n")
            mounts = ["31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
                      line.format(root=root, point=point)]  # fmt: skip
            (proc / "mountinfo").write_text("\n".join(mounts) + "\n")
            for name, text in files.items():
                (point / name).parent.mkdir(parents=True, exist_ok=True)
                (point / name).write_text(text + "\n")
            return config.cgroup_quota(proc)

        return quota

    @pytest.mark.parametrize(("files", "expected"), [
        ({"a/b/cpu.max": "150000 100000"}, 1.5),
        ({"a/b/cpu.max": "max 100000"}, math.inf),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, 3),  # those around it
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "max 100000"}, 4),
        ({"a/other/cpu.max": "100000 100000"}, math.inf),
        ({"a/b/cpu.max": "nonsense"}, math.inf),
        ({}, math.inf),
    ])  # fmt: skip
    def test_v2(self, quota, files, expected):
        assert quota(self.V2, "/", "0::/a/b", files) == expected

    @pytest.mark.parametrize(("quota_us", "expected"), [("-1", math.inf), ("250000", 2.5)])
    def test_v1(self, quota, quota_us, expected):
        files = {"a/cpu.cfs_quota_us": quota_us, "a/cpu.cfs_period_us": "100000"}
        assert quota(self.V1, "/", "5:cpu,cpuacct:/a", files) == expected

    @pytest.mark.parametrize(("root", "own"), [("/docker/1", "/docker/1"), ("/", "/../.."),
                                               ("/docker/1", "/elsewhere")])  # fmt: skip
    def test_in_a_container_the_mount_is_asked(self, quota, root, own):
        assert quota(self.V2, root, f"0::{own}", {"cpu.max": "200000 100000"}) == 2

    def test_below_the_root_of_a_container(self, quota):
        assert quota(self.V2, "/docker/1", "0::/docker/1/a", {"a/cpu.max": "5000 10000"}) == 0.5

    def test_without_files(self, tmp_path):
        assert config.cgroup_quota(tmp_path) == math.inf

    @pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.5, 1), (2.0, 2), (math.inf, 8)])
    def test_it_is_rounded_down(self, monkeypatch, quota, cores):
        monkeypatch.setattr(config, "cgroup_quota", lambda: quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        assert config.usable_cores() == cores


class TestBackend:
    def test_names(self):
        for name in ("auto", *config.BACKENDS):
            config.set_backend(name)
            assert config.get_backend() == name
        for bad in ("gpu", None, 3, ["blas"]):
            with pytest.raises((ValueError, TypeError), match="backend: "):
                config.set_backend(bad)
        assert config.get_backend() == config.BACKENDS[-1]

    def test_training_is_the_same_on_all(self):
        x = np.random.default_rng(0).normal(size=(20, 5, 3))
        runs = {}
        for name in config.BACKENDS:
            config.set_backend(name)
            clstm.set_seed(1)
            model = clstm.Sequential([clstm.Input((5, 3)), clstm.LSTM(8), clstm.Dense(1)])
            model.compile("adam", "mse")
            runs[name] = model.fit(x, x[:, 0, 0], epochs=3, verbose=0).history["loss"]
        for losses in runs.values():
            np.testing.assert_allclose(losses, runs["numpy"], rtol=1e-4)


class TestIsa:
    def test_names(self):
        assert config.get_isa() in config.available_isas()
        for name in config.available_isas():
            config.set_isa(name)
            assert config.get_isa() == name
        with pytest.raises(ValueError, match=r"isa: .*'mmx'"):
            config.set_isa("mmx")


class TestEnvironment:
    def test_is_read(self):
        isa = config.available_isas()[-1]
        code, out = run(SHOW, CLSTM_NUM_THREADS="3", CLSTM_BACKEND="numpy", CLSTM_ISA=isa)
        assert (code, out) == (0, f"3 numpy {isa}")
        assert run(SHOW, OMP_NUM_THREADS="2,1")[1].startswith("2 auto")
        assert run(SHOW, OMP_NUM_THREADS="2", CLSTM_NUM_THREADS="1")[1].startswith("1 ")

    @pytest.mark.parametrize(
        ("environment", "words"),
        [({"CLSTM_NUM_THREADS": "many"}, "CLSTM_NUM_THREADS: "),
         ({"CLSTM_NUM_THREADS": "0"}, "CLSTM_NUM_THREADS: "),
         ({"CLSTM_BACKEND": "gpu"}, "backend: "), ({"CLSTM_ISA": "mmx"}, "isa: ")],
    )  # fmt: skip
    def test_errors(self, environment, words):
        code, out = run("import clstm", **environment)
        assert code and out.splitlines()[-1].startswith("ValueError") and words in out

    def test_importing_is_light(self):
        """No SciPy, no plotting, no tables before they are used."""
        code, out = run("import clstm, sys; print([m for m in ('scipy', 'tqdm', 'safetensors', "
                        "'matplotlib', 'pandas') if m in sys.modules])")  # fmt: skip
        assert (code, out) == (0, "[]")

    def test_usable_cores(self):
        assert 1 <= config.usable_cores() <= (os.cpu_count() or 1)


def test_show_config_names_everything():
    text = config.show_config()
    for word in (clstm.__version__, np.__version__, config.get_isa(), "CPU", "BLAS", "OpenMP",
                 "threads", "backend"):  # fmt: skip
        assert word in text
