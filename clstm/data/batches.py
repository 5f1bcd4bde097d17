"""Batches for the loop: from arrays in memory or on disk, or from any iterable of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Batch(NamedTuple):
    """One array for each input of a model, labels and weights for each output, number of rows."""

    x: list[Array]
    y: list[Array] | None
    weight: list[Array | None] | None
    rows: int


class ArraySource:
    """Batches of `batch_size` rows out of whole arrays, the last one maybe smaller."""

    def __init__(self, data: Batch, batch_size: int):
        self.data = data
        self.batch_size = batch_size
        self.rows = data.rows
        self.steps: int | None = -(-data.rows // batch_size)

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """All rows once: as they lie, or in an order that `rng` draws."""
        order = None if rng is None else rng.permutation(self.rows)
        for begin in range(0, self.rows, self.batch_size):
            end = min(begin + self.batch_size, self.rows)
            yield take(self.data, slice(begin, end) if order is None else order[begin:end])


class IterableSource:
    """Batches out of an iterable of x, (x, y) or (x, y, sample_weight).

    An iterator goes on where it stood; any other iterable starts anew in every epoch. `steps`
    limits an epoch; without it an epoch ends with the iterable.
    """

    rows = None

    def __init__(self, source: Iterable[Any], steps: int | None, convert: Callable[..., Batch]):
        self.source = source
        self.steps = steps
        self._convert = convert
        self._iterator = iter(source)

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """One epoch; `rng` is not used: the iterable says the order."""
        if not isinstance(self.source, Iterator):
            self._iterator = iter(self.source)
        count = 0
        while self.steps is None or count < self.steps:
            try:
                item = next(self._iterator)
            except StopIteration:
                break
            parts = item if isinstance(item, tuple) else (item,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(
                    f"x: expected batches (x, y) or (x, y, sample_weight), got {len(parts)} parts"
                )
            yield self._convert(*parts, *[None] * (3 - len(parts)))
            count += 1
        if count == 0 or (self.steps is not None and count < self.steps):
            expected = "at least one batch" if self.steps is None else f"{self.steps} batches"
            raise ValueError(f"x: expected {expected} for every epoch, got {count}")


def take(data: Batch, place: Any) -> Batch:
    """The rows `place` (a slice or an array of numbers) of a batch."""
    x = [a[place] for a in data.x]
    return Batch(
        x,
        None if data.y is None else [a[place] for a in data.y],
        None if data.weight is None else [None if w is None else w[place] for w in data.weight],
        len(x[0]),
    )


def is_iterable_of_batches(x: Any) -> bool:
    """Whether x is a generator or the like: no array, no list or dict of arrays."""
    if isinstance(x, (np.ndarray, list, tuple, dict, str)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__")
