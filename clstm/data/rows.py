"""Rows that are made when they are asked for, in the place of an array that would hold copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


class Rows:
    """Stands for an array (N, ...): `fit`, `predict` and `evaluate` read it batch by batch.

    It has an array's `shape`, `dtype`, `ndim`, `size` and length. A slice of it is Rows again;
    a number, or an array of numbers, gives an array, and np.asarray all of it.
    """

    def __init__(
        self, make: Callable[[Array], Array], shape: tuple[int, ...], dtype: Any,
        places: range | None = None,
    ):  # fmt: skip
        """make: an array of the rows that it is given the places of."""
        self._make = make
        self._places = range(shape[0]) if places is None else places
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=object))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            places = self._places[place]
            return Rows(self._make, (len(places), *self.shape[1:]), self.dtype, places)
        if isinstance(place, (int, np.integer)):
            return self.take([place])[0]
        if isinstance(place, tuple) or np.ndim(place) != 1:
            raise TypeError("rows: expected a slice, a number, or an array of numbers, got "
                            f"{place!r}; np.asarray(rows) can all that arrays can")  # fmt: skip
        place = np.asarray(place)
        if place.dtype != bool:
            return self.take(place)
        if len(place) != len(self):
            raise IndexError(f"rows: expected {len(self)} booleans, got {len(place)}")
        return self.take(np.flatnonzero(place))

    def take(self, places: Any, axis: int = 0) -> Array:
        """An array of the rows that are named by number."""
        numbers = np.asarray(places)
        if axis != 0 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise TypeError(f"rows: expected numbers of rows, got {numbers.dtype}, axis {axis}")
        numbers = numbers.astype(np.int64)
        if numbers.size and not -len(self) <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"rows: expected 0 .. {len(self) - 1}, got {places}")
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        return self._make(self._places.start + self._places.step * numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("copy: expected True or None, as the rows have to be made")
        return self._make(np.asarray(self._places)).astype(dtype or self.dtype, copy=False)
