"""What is no number: categories as the rows of an Embedding, or as columns of 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._serialize import register
from .table import Table, is_missing
from .transform import Transform

Array = np.ndarray


class _Encoder(Transform):
    """Base: the values of each column in the training part, sorted, are its categories."""

    state_names = ("categories",)
    objects = True
    categories: list[list[Any]]

    def _fit(self, table: Table) -> dict[str, Any]:
        rows = np.concatenate(table.parts)
        found = []
        for k, column in enumerate(rows.T):
            values = {_value(v, table.name(k)) for v in column.tolist() if not is_missing(v)}
            if not values:
                raise ValueError(f"x: expected a known value in {table.name(k)}, got none")
            try:
                found.append(sorted(values))
            except TypeError as error:
                types = sorted({type(v).__name__ for v in values})
                raise TypeError(
                    f"x: expected values of one type in {table.name(k)}, got {types}"
                ) from error
        return {"categories": found}

    def _numbers(self, part: Array) -> Array:
        """(T, F): 1 + the number of the category, 0 for what is missing or new."""
        out = np.zeros(part.shape, np.int64)
        for k, known in enumerate(self.categories):
            place = {value: n for n, value in enumerate(known, 1)}
            out[:, k] = [place.get(value, 0) for value in part[:, k].tolist()]
        return out


@register("transform")
class Categories(_Encoder):
    """Each column's values as the integers of an `Embedding(sizes[k], ...)`.

    0 is what is missing, or was not in the training part; 1, 2, ... are the values there, sorted.
    `inverse_transform` gives them back, None for 0.
    """

    @property
    def sizes(self) -> list[int]:
        """For each column the rows that its Embedding needs."""
        return [len(known) + 1 for known in self.categories]

    def _apply(self, table: Table) -> Table:
        return table.map(self._numbers)

    def _undo(self, table: Table) -> Table:
        return table.map(self._values)

    def _values(self, part: Array) -> Array:
        out = np.empty(part.shape, object)
        for k, known in enumerate(self.categories):
            column = part[:, k]
            if not ((column >= 0) & (column <= len(known)) & (column % 1 == 0)).all():
                raise ValueError(f"x: expected integers in 0 .. {len(known)} in column {k}")
            out[:, k] = np.array([None, *known], object)[column.astype(np.int64)]
        return out


@register("transform")
class OneHot(_Encoder):
    """Each column's values as columns of 0 and 1, one for each value of the training part, sorted.

    What is missing, or was not in the training part, is 0 in all of them; `inverse_transform`
    gives the value of the largest number, None where none is above 0.
    """

    def _apply(self, table: Table) -> Table:
        parts = []
        for part in table.parts:
            numbers = self._numbers(part)
            each = [numbers[:, k, None] == np.arange(1, len(known) + 1)
                    for k, known in enumerate(self.categories)]  # fmt: skip
            parts.append(np.concatenate(each, axis=1).astype(np.float32))
        return table.with_columns(parts, self._made()[1] or ())

    def _made(self) -> tuple[int, tuple[str, ...] | None]:
        count = sum(len(known) for known in self.categories)
        if self.columns is None:
            return count, None
        return count, tuple(f"{name}={value}" for name, known in
                            zip(self.columns, self.categories, strict=True) for value in known)

    def _undo(self, table: Table) -> Table:
        return table.with_columns([self._values(part) for part in table.parts], self.columns or ())

    def _values(self, part: Array) -> Array:
        """Of each column the category with the largest number, None where none is above 0."""
        out = np.full((len(part), len(self.categories)), None, object)
        ends = np.cumsum([len(known) for known in self.categories])
        for k, (end, known) in enumerate(zip(ends, self.categories, strict=True)):
            group = part[:, end - len(known) : end]
            values = np.array(known, object)[group.argmax(axis=1)]
            out[:, k] = np.where(group.max(axis=1) > 0, values, None)
        return out


def _value(value: Any, where: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"x: expected texts, numbers or booleans in {where}, got "
                    f"{type(value).__name__}")  # fmt: skip
