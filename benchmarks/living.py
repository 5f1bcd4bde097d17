"""Count hangs, wrong bytes and slow answers in a process that forks, threads and gets signals.

    python benchmarks/living.py                  all sections
    python benchmarks/living.py forks --count 100

forks: a parent that has trained on all threads forks, half the times while another of its threads
is inside a call; each child predicts and trains a step, and its bytes must be the parent's.
threads: one model predicts in 1, 2, 4 and 16 Python threads, each call on one thread of its own.
interrupts: SIGINTs at random moments of long forward and backward runs; how soon they are answered.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import warnings

import numpy as np

import clstm
from clstm import functional as F

PATIENCE = 60  # seconds after which a child counts as hanging
SECTIONS = {"forks": 1000, "threads": 400, "interrupts": 100}


def model_and_data(rows: int = 64) -> tuple[clstm.Sequential, np.ndarray, np.ndarray]:
    clstm.set_seed(1)
    x = np.random.default_rng(0).normal(size=(rows, 20, 16)).astype(np.float32)
    y = (x.sum(axis=(1, 2)) > 0).astype(np.float32)
    model = clstm.Sequential([clstm.LSTM(48, input_shape=(20, 16)),
                              clstm.Dense(1, activation="sigmoid")])  # fmt: skip
    model.compile("adam", "binary_crossentropy")
    model.fit(x, y, batch_size=32, verbose=0)
    return model, x, y


def digest(model: clstm.Sequential, x: np.ndarray, y: np.ndarray) -> bytes:
    """Of a prediction, the weights after one step more, and another prediction."""
    parts = [model.predict(x)]
    model.train_on_batch(x, y)
    parts += [*model.get_weights(), model.predict(x)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()


def child_says(work) -> bytes | None:
    """What `work` gives in a forked child, b"" if it fails; None if it hangs."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, work())
        finally:
            os._exit(0)
    os.close(write)
    timer = threading.Timer(PATIENCE, os.kill, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    timer.cancel()
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    return None if killed else answer


def forks(count: int) -> bool:
    """Half of `count` forks in a quiet process, half while another thread is inside a call."""
    warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
    model, x, y = model_and_data()
    other, other_x, _ = model_and_data(256)
    expected = child_says(lambda: digest(model, x, y))
    good = True
    for name in ("quiet", "inside a call"):
        stop = threading.Event()

        def work(stop=stop):
            while not stop.is_set():
                other.predict(other_x, batch_size=256)

        worker = threading.Thread(target=work)
        if name != "quiet":
            worker.start()
        start = time.perf_counter()
        answers = [child_says(lambda: digest(model, x, y)) for _ in range(count // 2)]
        seconds = time.perf_counter() - start
        stop.set()
        if worker.ident is not None:
            worker.join()
        hangs = answers.count(None)
        wrong = sum(a not in (None, expected) for a in answers)
        print(f"forks, {name}: {len(answers)} forks, {hangs} hangs, {wrong} mismatches, "
              f"{seconds:.1f} s")  # fmt: skip
        good &= hangs == wrong == 0
    if digest(model, x, y) != expected:
        print("forks: the parent's own bytes are others")
        good = False
    return good


def threads(count: int) -> bool:
    """Predictions a second from 1 .. 16 Python threads that share a model."""
    before = clstm.config.get_num_threads()
    clstm.config.set_num_threads(1)
    model, x, _ = model_and_data(256)
    expected = model.predict(x, batch_size=256).tobytes()
    wrong, alone = 0, 0.0
    for size in (1, 2, 4, 16):
        answers: list[bytes] = []

        def work(share=count // size, answers=answers):
            for _ in range(share):
                answers.append(model.predict(x, batch_size=256).tobytes())

        team = [threading.Thread(target=work) for _ in range(size)]
        start = time.perf_counter()
        for thread in team:
            thread.start()
        for thread in team:
            thread.join()
        rate = len(answers) / (time.perf_counter() - start)
        alone = alone or rate
        mismatches = sum(answer != expected for answer in answers)
        wrong += mismatches
        print(f"threads, {size}: {rate:.0f} predictions/s, {rate / alone:.2f} of one thread's, "
              f"{mismatches} mismatches of {len(answers)}")  # fmt: skip
    clstm.config.set_num_threads(before)
    return wrong == 0


def interrupts(count: int) -> bool:
    """Seconds from a SIGINT to the KeyboardInterrupt that ends a forward or backward run."""
    rng = np.random.default_rng(0)
    x, W, U, dy = (rng.normal(size=shape).astype(np.float32) for shape in
                   ((32, 1000, 128), (128, 1024), (256, 1024), (32, 1000, 256)))  # fmt: skip

    def run() -> list[bytes]:
        y, state, tape = F.lstm_forward(x, W, U)
        grads = F.lstm_backward(tape, dy)
        return [a.tobytes() for a in (y, *state, *grads) if a is not None]

    start = time.perf_counter()
    expected = run()
    length = time.perf_counter() - start
    # the sender is a process: a thread of this one would need the GIL to read its clock
    sender = ("import os, signal, sys, time\n"
              "for line in sys.stdin:\n"
              "    time.sleep(float(line))\n"
              "    print(repr(time.monotonic()), flush=True)\n"
              "    os.kill(int(sys.argv[1]), signal.SIGINT)\n")  # fmt: skip
    draw = random.Random(1)
    answers = []
    with subprocess.Popen([sys.executable, "-c", sender, str(os.getpid())], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        for _ in range(count):
            try:
                process.stdin.write(f"{draw.uniform(0, length)}\n")
                process.stdin.flush()
                while True:
                    _, _, tape = F.lstm_forward(x, W, U)
                    F.lstm_backward(tape, dy)
            except KeyboardInterrupt:
                answers.append(time.monotonic() - float(process.stdout.readline()))
        process.stdin.close()
    valid = run() == expected
    answers.sort()
    print(f"interrupts: {count} in calls of {length * 1e3:.0f} ms: answered in "
          f"{statistics.median(answers) * 1e3:.1f} ms (median), "
          f"{answers[int(0.99 * (count - 1))] * 1e3:.1f} ms (99 of 100), "
          f"{answers[-1] * 1e3:.1f} ms (longest); then the same bytes: {valid}")  # fmt: skip
    return valid and answers[-1] < 0.1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION",
                        help=f"of {', '.join(SECTIONS)}; default: all")  # fmt: skip
    parser.add_argument("--count", type=int, help="forks, predictions or interrupts")
    options = parser.parse_args(argv)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}")
    print(f"clstm {clstm.__version__}, {clstm.config.get_num_threads()} threads, "
          f"{clstm.config.get_isa()}")  # fmt: skip
    good = [globals()[name](options.count or SECTIONS[name])
            for name in options.sections or SECTIONS]  # fmt: skip
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
