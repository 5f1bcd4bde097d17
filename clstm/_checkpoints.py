"""At which steps a long native run keeps its state, so that its memory stays within a budget."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ._arrays import positive

Array = np.ndarray

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def read_budget(value: Any, checkpoint_every: int | None) -> int | None:
    """memory_budget in bytes, from an int or a string such as "512MB" or "1.5 GiB"."""
    if value is None:
        return None
    if checkpoint_every is not None:
        raise ValueError("memory_budget: expected None beside checkpoint_every, got both")
    if not isinstance(value, str):
        return positive("memory_budget", value)
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMG]i?B|B)", value)
    size = 0 if match is None else int(float(match[1]) * _UNITS[match[2]])
    if size < 1:
        raise ValueError(f"memory_budget: expected a number of {', '.join(_UNITS)}, such as "
                         f"'512MB', got {value!r}")  # fmt: skip
    return size


def cuts(chunks: Array, every: int) -> Array:
    """The steps at which segments of `every` steps or more begin, and S: all are in `chunks`."""
    found = [0]
    while found[-1] < chunks[-1]:
        place = np.searchsorted(chunks, found[-1] + every)
        found.append(int(chunks[min(int(place), len(chunks) - 1)]))
    return np.array(found)


def choose(budget: int, others: int, chunks: Array, offsets: Array, *, state: int, position: int,
           once: int) -> int | None:  # fmt: skip
    """The largest `checkpoint_every` that takes no more than `budget` bytes; None: keep everything.

    others: bytes that the tape has in either case; chunks: the steps at which chunks begin, and S;
    offsets (S + 1): where each step's packed rows begin. Bytes of h and c; of what is kept at each
    position; of what is kept beside that.
    Raises ValueError, naming the least budget, if no choice will do.
    """

    def kept(positions: int) -> int:
        return position * positions + once if positions else 0

    def taken(every: int) -> int:
        ends = cuts(chunks, every)
        largest = int(np.diff(offsets[ends]).max())
        pieces = len(ends) - 1
        return (
            others
            + pieces * state
            + 8 * (len(offsets) - 1 + pieces)  # states, offsets
            + kept(largest)
            + state
        )  # and one segment once more, from a copy of its state

    everything = others + kept(int(offsets[-1]))
    if everything <= budget:
        return None
    choices = chunks[1:-1]
    for every in choices[offsets[choices] * position <= budget][::-1]:
        if taken(int(every)) <= budget:
            return int(every)
    least = min([everything, *(taken(int(every)) for every in choices)])
    raise ValueError(f"memory_budget: expected at least {least} bytes for {int(offsets[-1])} "
                     f"positions, got {budget}")  # fmt: skip
