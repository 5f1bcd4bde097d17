"""Statistics of the rounds, from the results' JSON and nothing else.

A result is {"libraries": {label: {"rounds": [seconds of each round], ...}}}; round k of all labels
ran next to each other, so two libraries are compared round by round.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

OURS = ("clstm-native", "clstm-blas")  # the first that was measured is "clstm" in the tables
BASELINE = "clstm-numpy"


def rounds(result: dict, label: str) -> list[float] | None:
    """The times of a library, None where it was not measured or computed something else."""
    entry = result["libraries"].get(label)
    return entry.get("rounds") or None if entry and entry.get("correct") else None


def median(result: dict, label: str) -> float | None:
    times = rounds(result, label)
    return statistics.median(times) if times else None


def ratio(result: dict, slow: str, fast: str) -> float | None:
    """The median over the rounds of time(slow) / time(fast)."""
    slows, fasts = rounds(result, slow), rounds(result, fast)
    if not slows or not fasts:
        return None
    return statistics.median(s / f for s, f in zip(slows, fasts, strict=True))


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there."""
    logs = [math.log(v) for v in values if v is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ours(result: dict) -> str | None:
    """The backend that stands for clstm."""
    return next((label for label in OURS if rounds(result, label)), None)


def rivals(result: dict) -> list[str]:
    """Others than clstm; a label "library/way" did other work and is no rival."""
    others = (k for k in result["libraries"] if not k.startswith("clstm") and "/" not in k)
    return [label for label in others if rounds(result, label)]


def fastest_rival(result: dict) -> str | None:
    return min(rivals(result), key=lambda label: median(result, label), default=None)


def against_fastest(result: dict) -> float | None:
    """How many times faster than the fastest rival clstm is."""
    mine, rival = ours(result), fastest_rival(result)
    return ratio(result, rival, mine) if mine and rival else None


def against_baseline(result: dict) -> float | None:
    mine = ours(result)
    return ratio(result, BASELINE, mine) if mine else None


def slowdown(result: dict, label: str) -> float | None:
    """How many times longer the input that falls to subnormals takes."""
    return ratio(result, f"{label}/decay", label)


def speed_per_flop(result: dict, label: str, size: str) -> float | None:
    """At a hidden size, over that at the size of the result's shape."""
    faster = ratio(result, label, f"{label}/{size}")
    flops = result["flops_at"]
    return faster and faster * flops[size] / flops[str(result["shape"][3])]


def peak_fraction(result: dict, label: str, gflops: float | None) -> float | None:
    """The part of the machine's FMA peak that a library reaches."""
    seconds = median(result, label)
    if not seconds or not gflops or not result.get("flops"):
        return None
    return result["flops"] / seconds / (1e9 * gflops)
