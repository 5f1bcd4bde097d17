"""Threads, backend, instruction set: functions and environment."""

import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm import config


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
