"""Windows of series: what was before a moment, and what came after it, without copies of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._arrays import integer, numbers, positive
from .rows import Rows
from .table import read, require_rising

Array = np.ndarray


class Windows:
    """What `windows` found: N windows of all series, one series after the other.

    x: (N, past, F). y: (N, horizon, D). known: (N, horizon, K) or None. static: (N, S) or None.
    Each is a view of an array, where there is one series, or `Rows`, which are read batch by batch.
    """

    def __init__(self, x: Any, y: Any, known: Any, static: Any, places: _Places):
        self.x, self.y, self.known, self.static = x, y, known, static
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def series(self) -> Array:
        """(N,) the number of the series of each window."""
        return self._places(np.arange(len(self)))[0]

    @property
    def begins(self) -> Array:
        """(N,) the row of its series that is the first of y."""
        return self._places(np.arange(len(self)))[1]


class _Places:
    """Where windows are, without an array of that: begins of the first ones, steps, counts."""

    def __init__(self, first: int, stride: int, counts: list[int]):
        self._first, self._stride = first, stride
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __call__(self, windows: Array) -> tuple[Array, Array]:
        """The series of these windows, and the first row of y."""
        series = np.searchsorted(self._ends, windows, side="right")
        before = np.concatenate([[0], self._ends[:-1]])[series]
        return series, self._first + self._stride * (windows - before)


def windows(
    series: Any, past: int, horizon: int, stride: int = 1, *,
    targets: Sequence[int] | None = None, known: Any = None, static: Any = None,
) -> Windows:  # fmt: skip
    """The windows of one or several series, as `model.fit(w.x, w.y)` reads them.

    Beside the series, `fit` needs memory for a batch, and, if it shuffles, 8 bytes a window.

    Args:
        series: (T,) or (T, F), a numpy.memmap too, which is never read as a whole; (N, T, F), a
            list of (T_i, F), of other lengths if you like, or frames.
        past: rows that are read, at least 1. horizon: rows that come after, at least 1.
        stride: rows from one window to the next. Default 1.
        targets: columns of y, by number; None: all. Other columns are covariates of the past.
        known: covariates that are known in advance, of as many rows as the series and K columns.
        static: (S,) numbers of the series, or (n, S) of n series: they do not change with time.

    Raises:
        TypeError, ValueError: an argument is none of these; a series is shorter than past +
            horizon, or its times do not rise: the series is named.
    """
    past, horizon = positive("past", past), positive("horizon", horizon)
    stride = positive("stride", stride)
    parts, several = _parts("series", series)
    names = [f"series[{k}]" if several else "series" for k in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        if len(part) < past + horizon:
            raise ValueError(f"{name}: expected at least {past + horizon} rows, past and horizon, "
                             f"got {len(part)}")  # fmt: skip
    columns = _columns(targets, parts[0].shape[1])
    wanted = [part[:, columns] for part in parts] if isinstance(columns, slice) else parts
    some = None if isinstance(columns, slice) else columns
    places = _Places(past, stride,
                     [(len(part) - past - horizon) // stride + 1 for part in parts])  # fmt: skip

    def cut(arrays: list[Array], size: int, shift: int, some: list[int] | None = None) -> Any:
        if len(arrays) == 1 and some is None:
            view = sliding_window_view(arrays[0], size, axis=0)[past + shift :: stride]
            return view[: len(places)].swapaxes(1, 2)
        return _rows(arrays, places, shift, size, some)

    ahead = None if known is None else cut(_known(known, parts, names), horizon, 0)
    fixed = None if static is None else _static(static, len(parts), several, places)
    return Windows(cut(parts, past, -past), cut(wanted, horizon, 0, some), ahead, fixed, places)


def _rows(parts: list[Array], places: _Places, shift: int, size: int,
          some: list[int] | None) -> Rows:  # fmt: skip
    """`size` rows from `shift` after each begin on, and of these some columns."""
    columns = list(range(parts[0].shape[1])) if some is None else some
    shape = (len(places), size, len(columns))
    dtype = np.result_type(*parts)

    def make(windows: Array) -> Array:
        out = np.empty((len(windows), *shape[1:]), dtype)
        series, begins = places(windows)
        for row, k, begin in zip(out, series, begins + shift, strict=True):
            row[...] = parts[k][begin : begin + size, columns]
        return out

    return Rows(make, shape, dtype)


def _parts(name: str, x: Any) -> tuple[list[Array], bool]:
    """(T_i, F) arrays as they are, whatever their numbers, and whether they are several."""
    several = isinstance(x, (list, tuple)) or (isinstance(x, np.ndarray) and x.ndim == 3)
    if isinstance(x, np.ndarray) or (several and all(isinstance(p, np.ndarray) for p in x)):
        found = []
        for k, part in enumerate(x if several else [x]):
            part = numbers(name, part)
            if part.ndim not in (1, 2):
                raise ValueError(f"{name}: expected series (T,) or (T, F), got shape {part.shape}")
            found.append(part[:, None] if part.ndim == 1 else part)
            if found[-1].shape[1] != found[0].shape[1]:
                raise ValueError(f"{name}[{k}]: expected {found[0].shape[1]} features, as in "
                                 f"{name}[0], got {found[-1].shape[1]}")  # fmt: skip
        if not found:
            raise ValueError(f"{name}: expected at least one series, got none")
        return found, several
    table = read(name, x)
    require_rising(name, table)
    return table.parts, table.form.several


def _columns(targets: Sequence[int] | None, features: int) -> list[int] | slice:
    """The targets, as a slice where they are neighbours."""
    if targets is None:
        return slice(0, features)
    if not isinstance(targets, (list, tuple, range)):
        raise TypeError(f"targets: expected a list of columns, got {targets!r}")
    columns = [integer("targets", k) for k in targets]
    for k in columns:
        if not 0 <= k < features:
            raise ValueError(f"targets: expected columns in 0 .. {features - 1}, got {k}")
    if not columns:
        raise ValueError("targets: expected at least one column, got none")
    neighbours = columns == list(range(columns[0], columns[0] + len(columns)))
    return slice(columns[0], columns[-1] + 1) if neighbours else columns


def _known(known: Any, parts: list[Array], names: list[str]) -> list[Array]:
    found, _ = _parts("known", known)
    if len(found) != len(parts):
        raise ValueError(f"known: expected {len(parts)} series, got {len(found)}")
    for name, own, part in zip(names, parts, found, strict=True):
        if len(part) < len(own):
            raise ValueError(f"known: expected {len(own)} rows, as {name} has, got {len(part)}")
    return found


def _static(static: Any, count: int, several: bool, places: _Places) -> Rows:
    array = numbers("static", static)
    array = array[None] if not several else array
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"static: expected {f'({count}, S)' if several else '(S,)'}, got shape "
                         f"{np.shape(static)}")  # fmt: skip
    return Rows(lambda windows: array[places(windows)[0]], (len(places), array.shape[1]),
                array.dtype)  # fmt: skip
