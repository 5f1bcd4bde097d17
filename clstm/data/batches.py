"""Batches for the loop: from arrays in memory or on disk, or from any iterable of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..random import generator

Array = np.ndarray
Draw = Callable[[], int]  # a new seed


class Batch(NamedTuple):
    """One array for each input of a model, labels and weights for each output, number of rows.

    Of a whole set they may be `Rows`, of a batch that is given they are arrays.
    """

    x: list[Any]
    y: list[Any] | None
    weight: list[Any] | None
    rows: int


class ArraySource:
    """Batches of `batch_size` rows out of whole arrays, the last one maybe smaller.

    steps: batches of an epoch, None for all. With `goes_on` an epoch begins where the one before
    ended, and the rows begin anew after the last one; else every epoch begins with the first row.
    """

    ran_out = False

    def __init__(
        self, data: Batch, batch_size: int, steps: int | None = None, goes_on: bool = False
    ):
        self.data = data
        self.batch_size = batch_size
        self.rows = data.rows
        self._batches = -(-data.rows // batch_size)
        self._goes_on = goes_on and steps is not None
        self.steps = (
            self._batches if steps is None else steps if goes_on else min(steps, self._batches)
        )
        self._begin(None)
        self._at = self._batches  # the next batch of the pass over the rows

    def split(
        self, share: float, batch_size: int | None, steps: int | None
    ) -> tuple[ArraySource, ArraySource]:
        """Sources of the first rows, to train on, and of the last `share`, to validate with."""
        held = int(self.rows * (1 - share))
        if not 0 < held < self.rows:
            raise ValueError(f"validation_split: expected rows on both sides, got {held} of "
                             f"{self.rows} for training")  # fmt: skip
        return (
            ArraySource(take(self.data, slice(0, held)), self.batch_size,
                        self.steps if self._goes_on else None, self._goes_on),
            ArraySource(take(self.data, slice(held, None)), batch_size or self.batch_size, steps),
        )  # fmt: skip

    def epoch(self, draw: Draw | None = None, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `done` on, which is where the source stands.

        draw: gives the seed of the order in which each pass over the rows takes them; None: as
        they lie.
        """
        if not self._goes_on and not done:
            self._at = self._batches
        for _ in range(done, self.steps):
            if self._at == self._batches:
                self._begin(None if draw is None else draw())
            begin = self._at * self.batch_size
            end = min(begin + self.batch_size, self.rows)
            self._at += 1
            order = self._order
            yield made(take(self.data, slice(begin, end) if order is None else order[begin:end]))

    def _begin(self, seed: int | None) -> None:
        """Begin a pass over the rows."""
        self._seed, self._at = seed, 0
        self._order = None if seed is None else generator(seed).permutation(self.rows)

    @property
    def position(self) -> dict[str, int | None]:
        """Where the source stands, for `go_to`."""
        return {"seed": self._seed, "at": self._at}

    def go_to(self, position: dict[str, Any]) -> None:
        """Stand where another source of the same data stood."""
        self._begin(position["seed"])
        self._at = position["at"]


class IterableSource:
    """Batches out of an iterable of x, (x, y) or (x, y, sample_weight).

    steps: batches of an epoch; None: an epoch ends with the iterable. An iterator goes on where it
    stood, and `ran_out` says that it ended before the steps were done; any other iterable starts
    anew when it ends, and, unless it `goes_on`, with every epoch.

    first: the first batch, which is read at once; ValueError if there is none.
    """

    rows = None

    def __init__(
        self, source: Iterable[Any], steps: int | None, convert: Callable[..., Batch],
        goes_on: bool = False,
    ):  # fmt: skip
        self.source = source
        self.steps = steps
        self.ran_out = False
        self._convert = convert
        self._goes_on = goes_on and steps is not None
        self._iterator = iter(source)
        first = next(self._batches(), None)
        if first is None:
            raise ValueError("x: expected at least one batch, got an iterable without any")
        self.first = first
        self._ahead = [first]  # read, but not yet given
        self._given = 0  # batches since the iterable started

    def epoch(self, draw: Draw | None = None, done: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `done` on, which is where the source stands.

        draw is not used: the iterable says the order.
        """
        restarts = not isinstance(self.source, Iterator)
        if restarts and not self._goes_on and not self._ahead and not done:
            self._start()
        count = done
        fresh = False  # nothing was read since the iterable started anew
        while self.steps is None or count < self.steps:
            batch = self._ahead.pop() if self._ahead else next(self._batches(), None)
            if batch is not None:
                self._given += 1
                yield batch
                count += 1
                fresh = False
            elif restarts and self.steps is not None and not fresh:
                self._start()
                fresh = True
            else:
                break
        self.ran_out = count == 0 or (self.steps is not None and count < self.steps)

    def _start(self) -> None:
        self._iterator, self._given = iter(self.source), 0

    @property
    def position(self) -> dict[str, int | None]:
        """Where the source stands, for `go_to`."""
        return {"given": self._given}

    def go_to(self, position: dict[str, Any]) -> None:
        """Stand where another source stood: so many batches are read and left out."""
        for taken in range(position["given"]):
            if self._ahead:
                self._ahead.pop()
            elif next(self._iterator, None) is None:
                raise ValueError(f"x: expected at least {position['given']} batches, as before the "
                                 f"training was interrupted, got {taken}")  # fmt: skip
        self._given = position["given"]

    def _batches(self) -> Iterator[Batch]:
        for item in self._iterator:
            parts = item if isinstance(item, tuple) else (item,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(
                    f"x: expected batches (x, y) or (x, y, sample_weight), got {len(parts)} parts"
                )
            yield self._convert(*parts, *[None] * (3 - len(parts)))


Source = ArraySource | IterableSource


def take(data: Batch, place: Any) -> Batch:
    """The rows `place` (a slice or an array of numbers) of a batch."""

    def rows(a: Any) -> Any:
        quicker = isinstance(a, np.ndarray) and a.flags.c_contiguous  # else take copies all of a
        return a.take(place, axis=0) if quicker and not isinstance(place, slice) else a[place]

    x = [rows(a) for a in data.x]
    return Batch(
        x,
        None if data.y is None else [rows(a) for a in data.y],
        None if data.weight is None else [None if w is None else rows(w) for w in data.weight],
        len(x[0]),
    )


def made(data: Batch) -> Batch:
    """A batch whose rows are arrays."""
    arrays = [np.asarray(a) for a in data.x]
    labels = None if data.y is None else [np.asarray(a) for a in data.y]
    weight = None if data.weight is None else [None if w is None else np.asarray(w)
                                               for w in data.weight]  # fmt: skip
    return Batch(arrays, labels, weight, data.rows)


def is_iterable_of_batches(x: Any) -> bool:
    """Whether x is a generator or the like: no array, no list or dict of arrays."""
    if isinstance(x, (np.ndarray, list, tuple, dict, str, bytes)) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__")
