"""What the training loop itself costs: `fit` with a bar, two metrics, three callbacks, over none.

    python benchmarks/loop.py [--rounds 15] [--out FILE]

The reference program of the README, 10 epochs of 1,000 sequences of 10 steps in batches of 32. In
each round each of the two runs once, one after the other, in turns the other first; the ratio is
the median of the rounds' ratios. The bar is drawn on a terminal of its own that nobody looks at.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import machine
import numpy as np

import clstm
from clstm import LSTM, Dense, Sequential
from clstm.callbacks import CSVLogger, EarlyStopping, ReduceLROnPlateau

X = np.random.default_rng(0).normal(size=(1000, 10, 10)).astype(np.float32)
Y = (X[:, -3:].mean(axis=(1, 2)) > 0).astype(np.float32)


def fit(full: bool, folder: Path) -> float:
    """Seconds of a training."""
    model = Sequential()
    model.add(LSTM(64, input_shape=(10, 10), return_sequences=True))
    model.add(LSTM(32))
    model.add(Dense(1, activation="sigmoid"))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"] if full else None)
    callbacks = [EarlyStopping("loss", patience=99), ReduceLROnPlateau("loss", patience=99),
                 CSVLogger(folder / "log.csv")] if full else None  # fmt: skip
    began = time.perf_counter()
    model.fit(X, Y, epochs=10, batch_size=32, verbose=int(full), callbacks=callbacks)
    return time.perf_counter() - began


def drain(terminal: int) -> None:
    """Read what is drawn, until the terminal is closed."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 4096):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    args = parser.parse_args()
    reader, writer = pty.openpty()
    threading.Thread(target=drain, args=(reader,), daemon=True).start()
    real, sys.stdout = sys.stdout, os.fdopen(writer, "w")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(args.rounds + 1):
            for full in (False, True) if k % 2 else (True, False):
                taken = fit(full, Path(folder))
                if k:  # the first round warms up
                    seconds[full].append(taken)
    sys.stdout = real
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    plain, full = (statistics.median(s) for s in seconds.values())
    print(f"fit {plain:.4f} s, with a bar, two metrics, three callbacks {full:.4f} s: {ratio:.3f}x")
    if args.out:
        found = {"machine": machine.describe(clstm.config.get_num_threads()), "ratio": ratio,
                 "date": time.strftime("%Y-%m-%d"), "plain_s": plain, "full_s": full}  # fmt: skip
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
