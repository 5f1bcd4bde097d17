"""Time and memory of a training step on one long sequence: `python benchmarks/long.py`.

B = 1, I = 64, H = 256; T from 1,000 to 100,000; with everything kept, and with checkpoints. Each
run is a process of its own; memory is its peak resident size less that before the step; the bits
of the gradients are compared. Writes results/long/NAME.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from clstm import functional as F

RESULTS = Path(__file__).with_name("results") / "long"
TIMES = (1_000, 3_000, 10_000, 30_000, 100_000)
EVERY = 2_048


def peak() -> float:
    """Peak resident size of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(T: int, every: int | None, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    I, H = 64, 256
    x = rng.standard_normal((1, T, I), np.float32)
    kernel, recurrent = (rng.standard_normal(s, np.float32) * np.float32(0.05)
                         for s in ((I, 4 * H), (H, 4 * H)))  # fmt: skip
    dy = rng.standard_normal((1, T, H), np.float32)
    before, seconds = peak(), []
    for _ in range(rounds):
        begin = time.perf_counter()
        _, _, tape = F.lstm_forward(x, kernel, recurrent, checkpoint_every=every)
        grads = F.lstm_backward(tape, dy)
        seconds.append(time.perf_counter() - begin)
        del tape
    bits = hashlib.sha256()
    for gradient in (grads.x, grads.kernel, grads.recurrent_kernel):
        bits.update(gradient.tobytes())
    return {"T": T, "checkpoint_every": every, "seconds": statistics.median(seconds),
            "MiB": round(peak() - before, 1), "process_MiB": round(peak(), 1),
            "sha256": bits.hexdigest()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="local")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)  # T, every: a child
    arguments = parser.parse_args()
    if arguments.one:
        T, every = arguments.one
        print(json.dumps(step(T, every or None, arguments.rounds)))
        return
    rows = []
    for T in TIMES:
        pair = []
        for every in (0, EVERY):
            command = [sys.executable, __file__, "--one", str(T), str(every),
                       "--rounds", str(arguments.rounds)]  # fmt: skip
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            pair.append(json.loads(done.stdout))
        kept, again = pair
        if kept["sha256"] != again["sha256"]:
            sys.exit(f"T = {T}: the gradients differ")
        rows += pair
        print(f"T {T:7,}: all kept {kept['seconds']:7.3f} s, {kept['MiB']:6.0f} MiB; "
              f"checkpoints {again['seconds']:7.3f} s ({again['seconds'] / kept['seconds']:.2f}x), "
              f"{again['MiB']:5.0f} MiB, {again['process_MiB']:5.0f} MiB in all; same bits",
              flush=True)  # fmt: skip
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
