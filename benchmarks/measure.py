"""One case on many libraries: prepared, checked, then timed in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from figures import BASELINE
from pool import Pool, WorkerError

TOLERANCE = 2e-4  # of the largest value of the array, or of 1: float32, long sums in any order
FEWEST_ROUNDS = 3


class Settings(NamedTuple):
    rounds: int = 9
    block: float = 0.1  # seconds of calls in a round, one call at least
    warm: float = 2.0  # seconds of warm-up, one call more at most
    gap: float = 0.2  # seconds between two libraries: who spins after its work has stopped by then
    budget: float = 300.0  # seconds that one case may take


def difference(saved: str, reference: str) -> tuple[float, float]:
    """The largest |a - b| over all arrays; the same in units of max(1, largest |b|)."""
    absolute = relative = 0.0
    with np.load(saved) as mine, np.load(reference) as truth:
        if set(mine.files) != set(truth.files):
            raise WorkerError(f"expected results {truth.files}, got {mine.files}")
        for name in truth.files:
            a, b = mine[name], truth[name]
            if a.shape != b.shape:
                raise WorkerError(f"{name}: expected shape {b.shape}, got {a.shape}")
            worst = float(np.abs(a - b).max())
            absolute = max(absolute, worst)
            scaled = worst / max(1.0, float(np.abs(b).max()))
            if not scaled <= relative:  # NaN too
                relative = scaled
    return absolute, relative


def _truth_of(case: dict) -> str:
    return f"{case['task']}-{case['shape']}-{case.get('lengths')}"


class _Case:
    """The entries of one measurement while it runs."""

    def __init__(self, pool: Pool, settings: Settings, folder: str):
        self.pool, self.settings, self.folder = pool, settings, folder
        self.references: dict[str, str] = {}
        self.libraries: dict[str, dict] = {}
        self.ready: dict[str, tuple[str, float]] = {}  # label: worker, seconds of a call

    def _prepare(self, worker: str, label: str, case: dict, warm: bool = True) -> tuple[dict, str]:
        path = str(Path(self.folder, f"{len(list(Path(self.folder).iterdir()))}.npz"))
        limits = (self.settings.block, self.settings.warm) if warm else (0, 0)
        return self.pool.workers[worker].ask("prepare", key=label, case=case, save=path,
                                             block=limits[0], limit=limits[1]), path  # fmt: skip

    def add(self, label: str, worker: str, case: dict) -> None:
        """Build the case in its worker and compare its results with the reference's."""
        if worker not in self.pool.workers:
            return
        truth = _truth_of(case)
        try:
            answer, path = self._prepare(worker, label, case)
            if answer.get("unsupported"):
                return
            if worker == BASELINE:
                self.references.setdefault(truth, path)
            elif truth not in self.references:
                _, self.references[truth] = self._prepare(BASELINE, truth, case, warm=False)
            absolute, relative = difference(path, self.references[truth])
        except WorkerError as error:
            self.libraries[label] = {"error": str(error)}
            self.pool.discard(worker)
            self.ready = {key: value for key, value in self.ready.items() if value[0] != worker}
            return
        finally:
            for old in Path(self.folder).iterdir():
                if str(old) not in self.references.values():
                    old.unlink()
        correct = bool(relative <= TOLERANCE)
        self.libraries[label] = {"correct": correct, "max_abs_diff": absolute,
                                 "max_rel_diff": relative, "rounds": [], "calls": []}  # fmt: skip
        if correct:
            self.ready[label] = (worker, answer["seconds"])

    def run(self) -> None:
        """Rounds: every library once in each, in an order that turns."""
        one = sum(max(seconds, self.settings.block) for _, seconds in self.ready.values())
        rounds = min(self.settings.rounds, max(FEWEST_ROUNDS, int(self.settings.budget / one)))
        labels = list(self.ready)
        for k in range(rounds):
            for label in labels[k % len(labels) :] + labels[: k % len(labels)]:
                time.sleep(self.settings.gap)
                answer = self.pool.workers[self.ready[label][0]].ask(
                    "time", key=label, seconds=self.settings.block)  # fmt: skip
                self.libraries[label]["rounds"].append(answer["seconds"])
                self.libraries[label]["calls"].append(answer["calls"])


def measure(pool: Pool, entries: dict[str, tuple[str, dict]], settings: Settings) -> dict:
    """{label: its rounds and its difference from the reference} for entries label: worker, case."""
    with tempfile.TemporaryDirectory() as folder:
        case = _Case(pool, settings, folder)
        for label, (worker, work) in sorted(entries.items(), key=lambda e: e[1][0] != BASELINE):
            case.add(label, worker, work)
        if case.ready:
            case.run()
        for worker in pool.workers.values():
            worker.ask("drop")
    for entry in case.libraries.values():
        if entry.get("rounds"):
            entry["median"] = statistics.median(entry["rounds"])
    return case.libraries
