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
    budget: float = 60.0  # seconds that the rounds of one library at one case may take


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
    return f"{case['task']}-{case['shape']}-{case.get('lengths')}-{case.get('decay')}"


class _Case:
    """The entries of one measurement while it runs."""

    def __init__(self, pool: Pool, settings: Settings, folder: str):
        self.pool, self.settings, self.folder = pool, settings, folder
        self.references: dict[str, str] = {}
        self.libraries: dict[str, dict] = {}
        self.ready: dict[str, tuple[str, float]] = {}  # label: worker, seconds of a call

    def _path(self) -> str:
        return str(Path(self.folder, f"{len(list(Path(self.folder).iterdir()))}.npz"))

    def _lost(self, label: str, worker: str, error: WorkerError) -> None:
        """With a worker go all its cases: its rounds are no longer those of the others."""
        gone = {key for key, value in self.ready.items() if value[0] == worker}
        for key in {label, *gone}:
            self.libraries[key] = {"error": str(error)}
            self.ready.pop(key, None)
        self.pool.discard(worker)

    def add(self, label: str, worker: str, case: dict) -> None:
        """Build the case in its worker and compare its results with the reference's."""
        if worker not in self.pool.workers:
            return
        truth = _truth_of(case)
        try:
            path = self._path()
            answer = self.pool.workers[worker].ask(
                "prepare", key=label, case=case, save=path, block=self.settings.block,
                limit=self.settings.warm)  # fmt: skip
            if answer.get("unsupported"):
                return
            if worker == BASELINE:
                self.references.setdefault(truth, path)
            elif truth not in self.references:
                made = self._path()
                self.pool.workers[BASELINE].ask("check", case=case, save=made)
                self.references[truth] = made
            absolute, relative = difference(path, self.references[truth])
        except WorkerError as error:
            self._lost(label, worker, error)
            return
        finally:
            for old in Path(self.folder).iterdir():
                if str(old) not in self.references.values():
                    old.unlink()
        correct = bool(relative <= TOLERANCE)
        self.libraries[label] = {"correct": correct, "max_abs_diff": absolute,
                                 "max_rel_diff": relative, "rounds": [], "calls": []}  # fmt: skip
        seconds, budget = answer["seconds"], self.settings.budget
        if correct and FEWEST_ROUNDS * seconds > budget:
            self.libraries[label]["left_out"] = (
                f"a call takes {seconds:.3g} s, {FEWEST_ROUNDS} rounds are more than its budget "
                f"of {budget:g} s")  # fmt: skip
            self.pool.workers[worker].ask("drop", key=label)
        elif correct:
            self.ready[label] = (worker, seconds)

    def run(self) -> None:
        """Rounds: every library once in each, in an order that turns."""
        longest = max(max(seconds, self.settings.block) for _, seconds in self.ready.values())
        rounds = min(self.settings.rounds, max(FEWEST_ROUNDS, int(self.settings.budget / longest)))
        labels = list(self.ready)
        for k in range(rounds):
            for label in labels[k % len(labels) :] + labels[: k % len(labels)]:
                if label not in self.ready:
                    continue
                time.sleep(self.settings.gap)
                worker = self.ready[label][0]
                try:
                    answer = self.pool.workers[worker].ask(
                        "time", key=label, seconds=self.settings.block)  # fmt: skip
                except WorkerError as error:
                    self._lost(label, worker, error)
                    continue
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
