"""Good manners in a process: forks, threads, signals, limits; the C of teams under a sanitizer."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Sequential, config
from clstm import functional as F

ROOT = Path(__file__).parents[1]
LIMIT = 100  # seconds after which a hang is one
# Python 3.12 and later warn of any fork of a process with threads, and a team is threads
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def two_threads():
    before = config.get_num_threads(), config.get_backend()
    config.set_num_threads(2)
    yield
    config.set_num_threads(before[0])
    config.set_backend(before[1])


def data(rows=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 20, 16)).astype(np.float32)
    return x, (x.sum(axis=(1, 2)) > 0).astype(np.float32)


def trained():
    clstm.set_seed(3)
    model = Sequential([LSTM(48, input_shape=(20, 16)), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    model.fit(*data(), batch_size=32, verbose=0)
    return model


def predict_and_step(model):
    """Bytes of a prediction, of the weights after one more step, and of a second prediction."""
    x, y = data()
    before = model.predict(x).tobytes()
    model.train_on_batch(x, y)
    return before, [w.tobytes() for w in model.get_weights()], model.predict(x).tobytes()


def python(code, **limits):
    """The output of a fresh Python, which must exit with 0; limits as RLIMIT_..."""

    def limit():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    environment = {**os.environ, "CLSTM_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, cwd="/", timeout=LIMIT, preexec_fn=limit)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WORK = """
import clstm
import numpy as np
from clstm import functional as F
rng = np.random.default_rng(0)
make = lambda *size: rng.normal(size=size).astype(np.float32)
x, W, U, b, dy = make(16, 40, 64), make(64, 512), make(128, 512), make(512), make(16, 40, 128)
def work(backend=None):
    y, (h, c), tape = F.lstm_forward(x, W, U, b, backend=backend)
    import hashlib
    results = [y, h, c, *F.lstm_backward(tape, dy)[:6]]
    return hashlib.sha256(b"".join(a.tobytes() for a in results)).hexdigest()
def threads():
    import os
    return len(os.listdir("/proc/self/task"))
"""


# --- forks -------------------------------------------------------------------------------------


def exit_code(child):
    """Of a forked child, which may not hang."""
    end = time.monotonic() + LIMIT
    while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("a forked child hangs")
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(status[1])


def _child(number):
    model = _parent["model"]
    return (predict_and_step(model), len(os.listdir("/proc/self/task")) if sys.platform == "linux"
            else 2)  # fmt: skip


_parent = {}


@pytest.mark.parametrize("backend", ["auto", "blas"])
def test_a_pool_of_forked_processes_works_on_all_threads_as_the_parent_would(backend):
    config.set_backend(backend)
    _parent["model"] = model = trained()
    with multiprocessing.get_context("fork").Pool(3, maxtasksperchild=1) as pool:
        results = pool.map_async(_child, range(9), chunksize=1).get(LIMIT)
    expected = predict_and_step(model)
    for result, threads in results:
        assert result == expected
        assert threads >= 2  # a team of the child's own


def test_forks_of_forks():
    config.set_num_threads(2)
    model = trained()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for _ in range(3):  # each generation works, then forks the next, and waits for it
            predict = model.predict(data()[0]).tobytes()
            grandchild = os.fork()
            if grandchild:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        os.write(write, predict[:8])
        os._exit(0)
    assert exit_code(child) == 0
    assert os.read(read, 8) == model.predict(data()[0]).tobytes()[:8]


def test_a_forked_child_has_as_many_threads_in_blas():
    """And their number decides the bytes there, so that one thread would give others."""
    out = python(WORK + """
import os
expected = work("blas")
print(threads(), flush=True)
child = os.fork()
if child == 0:
    same, size = work("blas") == expected, threads()
    clstm.config.set_num_threads(1)
    print(same, size, work("blas") == expected, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""")  # fmt: skip
    assert out.split() == ["4", "True", "4", "False"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blas_in_a_child_while_another_thread_is_inside_a_call(dtype):
    rng = np.random.default_rng(0)
    x, W, U, dy = (rng.normal(size=s).astype(dtype)
                   for s in ((16, 30, 32), (32, 256), (64, 256), (16, 30, 64)))  # fmt: skip

    def work():
        y, state, tape = F.lstm_forward(x, W, U, backend="blas")
        results = [y, *state, *F.lstm_backward(tape, dy)]
        return [a.tobytes() for a in results if a is not None]

    expected, stop = work(), threading.Event()

    def others():
        while not stop.is_set():
            work()

    worker = threading.Thread(target=others)
    worker.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if work() == expected else 1)
            assert exit_code(child) == 0
    finally:
        stop.set()
        worker.join()


def test_the_count_of_hangs_and_mismatches():
    """A short run of benchmarks/living.py, whose interrupts are a measurement of time."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "living.py", "forks", "threads", "--count", "32"],
        capture_output=True, text=True, cwd="/", timeout=LIMIT)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("forks, quiet: 16 forks, 0 hangs, 0 mismatches",
                 "forks, inside a call: 16 forks, 0 hangs, 0 mismatches",
                 "0 mismatches of 32"):  # fmt: skip
        assert line in done.stdout


# --- threads -----------------------------------------------------------------------------------


def test_a_model_shared_by_16_threads():
    model = trained()
    x, _ = data()
    expected = model.predict(x).tobytes()
    answers = []
    threads = [threading.Thread(target=lambda: answers.extend(
        model.predict(x).tobytes() for _ in range(10))) for _ in range(16)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 160
    assert set(answers) == {expected}


@pytest.mark.parametrize("backend", ["native", "blas"])
def test_other_threads_run_while_one_is_inside_a_call(backend):
    rng = np.random.default_rng(0)
    x, W, U = (rng.normal(size=s).astype(np.float32)
               for s in ((32, 300, 64), (64, 512), (128, 512)))  # fmt: skip
    F.lstm(x[:, :2], W, U, backend=backend)
    inside, ticks = threading.Event(), 0

    def work():
        inside.set()
        for _ in range(5):
            F.lstm(x, W, U, backend=backend)
        inside.clear()

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait(LIMIT)
    while inside.is_set():
        ticks += 1
    worker.join()
    assert ticks > 1000


def test_no_worker_takes_a_signal_of_the_program():
    """One that the program's own threads have blocked waits; it does not end the process."""
    out = python(WORK + """
import os, signal
work()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
work()
print(signal.sigwait([signal.SIGUSR1]) == signal.SIGUSR1, threads())
""")  # fmt: skip
    assert out == "True 4"


# --- signals -----------------------------------------------------------------------------------


def interrupted(call, seconds):
    """Run `call` again and again until a SIGINT sent after `seconds` ends it."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            call()
    timer.join()


def test_ctrl_c_inside_forward_and_backward_leaves_everything_valid():
    rng = np.random.default_rng(0)
    x, W, U = (rng.normal(size=s).astype(np.float32)
               for s in ((16, 2000, 64), (64, 1024), (256, 1024)))  # fmt: skip
    dy = np.ones((16, 2000, 256), np.float32)

    def call():
        y, _, tape = F.lstm_forward(x, W, U)
        return [y, *filter(lambda g: g is not None, F.lstm_backward(tape, dy))]

    expected = [a.tobytes() for a in call()]
    for seconds in (0.05, 0.12, 0.2):
        interrupted(call, seconds)
    assert [a.tobytes() for a in call()] == expected


def test_ctrl_c_inside_a_product():
    from clstm._kernels._gemm import matmul

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((6000, 500), (500, 2000)))
    out = np.empty((6000, 2000), np.float32)
    matmul(a, b, out)
    expected = out.copy()
    interrupted(lambda: matmul(a, b, out), 0.1)
    matmul(a, b, out)
    assert out.tobytes() == expected.tobytes()
    np.testing.assert_allclose(out[::500], a[::500] @ b, rtol=1e-4, atol=1e-3)


def test_a_model_whose_training_was_interrupted_goes_on():
    model = trained()
    x, y = data(512)
    interrupted(lambda: model.fit(x, y, batch_size=16, verbose=0), 0.2)
    before = model.get_weights()
    loss = model.fit(x, y, epochs=2, batch_size=16, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


# --- limits ------------------------------------------------------------------------------------


def test_where_no_thread_can_be_made_one_does_the_work():
    """A stack of 8 GiB does not fit into an address space of 4: pthread_create fails."""
    report = "\nprint(work(), threads())\n"
    expected, threads = python(WORK + report).split()
    assert threads == "4"
    got, threads = python(WORK + report, RLIMIT_STACK=8 << 30, RLIMIT_AS=4 << 30).split()
    assert threads == "1"
    assert got == expected


def test_teams_have_no_data_race(tmp_path):
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no C compiler {compiler[0]}")
    command = [*compiler, "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
               "-fsanitize=thread"]  # fmt: skip
    probe, program = tmp_path / "probe", tmp_path / "team"
    (tmp_path / "probe.c").write_text("int main(void) { return 0; }\n")
    built = subprocess.run([*command, tmp_path / "probe.c", "-o", probe], capture_output=True)
    if built.returncode != 0:
        pytest.skip(f"{compiler[0]} has no ThreadSanitizer")
    runner = []
    if subprocess.run([probe], capture_output=True).returncode != 0:
        runner = ["setarch", "-R"]  # some kernels place programs where the sanitizer has its maps
        if shutil.which("setarch") is None or subprocess.run([*runner, probe]).returncode != 0:
            pytest.skip("ThreadSanitizer does not start on this kernel")
    subprocess.run([*command, "-Iclstm/_kernels", "tests/c/team.c", "-o", program], cwd=ROOT,
                   check=True)  # fmt: skip
    done = subprocess.run([*runner, program], capture_output=True, text=True, timeout=300)
    assert "WARNING: ThreadSanitizer" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    assert "\n4 workers: " in done.stdout
