"""Count trainings that end otherwise when they were killed, and how soon Ctrl-C is answered.

    python benchmarks/resume.py                    all sections, a quarter of an hour
    python benchmarks/resume.py kills --count 20

kills: a process that trains with a checkpoint after every second batch is killed (SIGKILL) at a
random moment, for each number of threads; a new one goes on. Weights, optimizer, history and random
numbers must be those of a training that nobody killed, and every checkpoint left must be whole.
writes: each write, fsync and rename of a training's checkpoints fails in turn, as on a full disk.
interrupts: SIGINTs at random moments of `fit`, in steps of a millisecond and in a step of seconds;
how soon they are answered, and whether the weights are those after a whole number of steps.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import machine
import numpy as np

import clstm
from clstm import LSTM, Dense, Dropout, Sequential
from clstm.callbacks import BackupAndRestore, Callback
from clstm.io import checkpoints, tensor_file
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay

SECTIONS = {"kills": 200, "writes": 1, "interrupts": 1000}
THREADS = (1, 2, 4)


def train(folder: Path, threads: int) -> str:
    """A training with all that draws random numbers; the digest of what it ends with."""
    clstm.config.num_threads = threads
    clstm.set_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 16, 8)).astype(np.float32)
    y = x.sum(axis=(1, 2)) > 0
    model = Sequential()
    model.add(LSTM(32, input_shape=(16, 8), return_sequences=True, recurrent_dropout=0.2))
    model.add(Dropout(0.2))
    model.add(LSTM(16, zoneout_h=0.1))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(Adam(CosineDecay(0.01, 64), clipnorm=1.0), "bce", metrics=["accuracy", "auc"])
    backup = BackupAndRestore(folder, 2, delete_checkpoint=False)
    history = model.fit(x, y, batch_size=32, epochs=8, verbose=0, validation_split=0.1,
                        callbacks=[backup]).history  # fmt: skip
    digest = hashlib.sha256(json.dumps([history, clstm.random.get_state()]).encode())
    for array in [*model.get_weights(), *model.optimizer.slots.values()]:
        digest.update(array.tobytes())
    return digest.hexdigest()


def child(folder: Path, threads: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, __file__, "child", str(folder), str(threads)],
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def whole(folder: Path) -> bool:
    """Whether every checkpoint there can be read."""
    try:
        for path in folder.glob(checkpoints.PATTERN):
            tensor_file.load(path, tensor_file.CHECKPOINT)
    except ValueError:
        return False
    return True


def kills(count: int) -> dict:
    folder = Path(tempfile.mkdtemp())
    result = {}
    process = child(folder / "whole", 1)
    process.stdout.readline()
    began = time.perf_counter()
    expected = process.stdout.readline()
    lasts = time.perf_counter() - began
    process.wait()
    for threads in THREADS:
        killed = mismatches = broken = 0
        while killed < count:
            process = child(folder / "run", threads)
            process.stdout.readline()  # it is about to train
            time.sleep(random.uniform(0, lasts))
            process.kill()
            ended = process.stdout.readline()
            process.wait()
            if not ended:
                killed += 1
                broken += not whole(folder / "run")
                again = child(folder / "run", threads)
                again.stdout.readline()
                mismatches += again.stdout.readline() != expected
                again.wait()
            shutil.rmtree(folder / "run", ignore_errors=True)
        print(f"kills, {threads} threads: {killed} points, {mismatches} that end otherwise, "
              f"{broken} with a broken checkpoint", flush=True)  # fmt: skip
        result[threads] = {"points": killed, "mismatches": mismatches, "broken": broken}
    shutil.rmtree(folder)
    return result


def writes(_: int) -> dict:
    folder = Path(tempfile.mkdtemp())
    expected = train(folder / "whole", 1)
    counts = dict.fromkeys(("write", "fsync", "replace"), 0)
    broken = mismatches = 0
    for name in counts:
        nth = 0
        while True:
            nth += 1
            run = folder / f"{name}-{nth}"
            if not _fails(name, nth, run):
                break
            counts[name] += 1
            broken += not whole(run)
            mismatches += train(run, 1) != expected
            shutil.rmtree(run)
    shutil.rmtree(folder)
    points = sum(counts.values())
    print(f"writes: {points} failures ({counts}), {broken} with a broken checkpoint, "
          f"{mismatches} that end otherwise", flush=True)  # fmt: skip
    return {"failures": counts, "broken": broken, "mismatches": mismatches}


def _fails(name: str, nth: int, run: Path) -> bool:
    """Whether a training met the failure of the n-th call of that name."""
    real_open, calls, met = os.fdopen, 0, False

    def failing(real):
        def call(*arguments):
            nonlocal calls, met
            calls += 1
            if calls == nth:
                met = True
                raise OSError(28, "No space left on device")
            return real(*arguments)

        return call

    def opened(*arguments):
        file = real_open(*arguments)
        half = failing(file.write)

        def write(data):
            if calls + 1 == nth:
                file.write(data[: len(data) // 2])  # what a full disk took
            return half(data)

        return _Writing(file, write)

    saved = {n: getattr(os, n) for n in ("fdopen", "fsync", "replace")}
    if name == "write":
        os.fdopen = opened
    else:
        setattr(os, name, failing(saved[name]))
    try:
        train(run, 1)
    except OSError:
        pass
    finally:
        for n, function in saved.items():
            setattr(os, n, function)
    return met


class _Writing:
    """A file with another `write`."""

    def __init__(self, file, write):
        self._file, self.write = file, write
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


class Digests(Callback):
    """The weights after each step of a training."""

    def __init__(self):
        self.seen = []

    def on_train_begin(self, logs=None):
        self.seen.append(_weights(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(_weights(self.model))


def _weights(model: Sequential) -> bytes:
    return hashlib.sha256(b"".join(w.tobytes() for w in model.weights)).digest()


def interrupts(count: int) -> dict:
    result = {}
    cases = {"short steps": (32, 10, 64, 300, 0.4), "a long step": (64, 2000, 256, 1, 1.0)}
    for name, (batch, time_steps, units, steps, span) in cases.items():
        rng = np.random.default_rng(0)
        x = rng.normal(size=(batch * steps, time_steps, 16)).astype(np.float32)
        y = x[:, -1].mean(axis=1)
        model = Sequential([LSTM(units, input_shape=(time_steps, 16)), Dense(1)])
        model.compile(Adam(0.001), "mse")
        first, seen = model.get_weights(), Digests()
        model.fit(x, y, batch_size=batch, shuffle=False, verbose=0, callbacks=[seen])
        answers, torn = [], 0
        while len(answers) < count // 2:
            model.set_weights(first)
            model.compile(Adam(0.001), "mse")
            sent = []

            def send(sent=sent):
                sent.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)

            timer = threading.Timer(random.uniform(0.01, span), send)
            try:
                timer.start()
                model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
                timer.cancel()
                timer.join()
                if sent:
                    time.sleep(0.1)  # it came between the end of fit and here
            except KeyboardInterrupt:
                answers.append(time.perf_counter() - sent[0])
                torn += _weights(model) != seen.seen[model.optimizer.iterations]
        p50, p99, most = (1e3 * float(np.quantile(answers, q)) for q in (0.5, 0.99, 1))
        print(f"interrupts, {name}: {len(answers)}, answered after {p50:.2f} ms (median), "
              f"{p99:.2f} ms (p99), {most:.2f} ms (most); {torn} within a step",
              flush=True)  # fmt: skip
        result[name] = {"count": len(answers), "p50_ms": p50, "p99_ms": p99, "most_ms": most,
                        "torn": torn}  # fmt: skip
    return result


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        print("ready", flush=True)
        print(train(Path(sys.argv[2]), int(sys.argv[3])), flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", choices=[*SECTIONS, []])
    parser.add_argument("--count", type=int, help="instead of 200 kills or 1000 interrupts")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what runs in background
    result = {"machine": machine.describe(len(os.sched_getaffinity(0))),
              "clstm": clstm.__version__, "date": time.strftime("%Y-%m-%d")}  # fmt: skip
    for name in args.sections or SECTIONS:
        result[name] = globals()[name](args.count or SECTIONS[name])
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
