"""Windows of series: what was before a moment, and what came after it, without copies of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._arrays import integer, numbers, positive
from .rows import Rows
from .table import read, require_rising

Array = np.ndarray


class Windows(NamedTuple):
    """What `windows` found: N windows of all series, one series after the other.

    x: (N, past, F). y: (N, horizon, D). known: (N, horizon, K) or None. static: (N, S) or None.
    Each is a view of an array, where there is one series, or `Rows`, which are read batch by batch.
    series: (N,) numbers of the series. begins: (N,) the row of it that is the first of y.
    """

    x: Any
    y: Any
    known: Any
    static: Any
    series: Array
    begins: Array


def windows(
    series: Any, past: int, horizon: int, stride: int = 1, *,
    targets: Sequence[int] | None = None, known: Any = None, static: Any = None,
) -> Windows:  # fmt: skip
    """The windows of one or several series, as `model.fit(w.x, w.y)` reads them.

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
    counts = [(len(part) - past - horizon) // stride + 1 for part in parts]
    number = np.repeat(np.arange(len(parts)), counts)
    begins = np.concatenate([past + stride * np.arange(count) for count in counts])

    def cut(arrays: list[Array], size: int, shift: int, some: list[int] | None = None) -> Any:
        if len(arrays) == 1 and some is None:
            view = sliding_window_view(arrays[0], size, axis=0)[past + shift :: stride]
            return view[: len(begins)].swapaxes(1, 2)
        return _rows(arrays, number, begins + shift, size, some)

    ahead = None if known is None else cut(_known(known, parts, names), horizon, 0)
    fixed = None if static is None else _static(static, len(parts), several, number)
    return Windows(cut(parts, past, -past), cut(wanted, horizon, 0, some), ahead, fixed, number,
                   begins)  # fmt: skip


def _rows(parts: list[Array], number: Array, begins: Array, size: int,
          some: list[int] | None) -> Rows:  # fmt: skip
    """`size` rows of each series from each begin on, and of these some columns."""
    columns = list(range(parts[0].shape[1])) if some is None else some
    shape = (len(begins), size, len(columns))
    dtype = np.result_type(*parts)

    def make(places: Array) -> Array:
        out = np.empty((len(places), *shape[1:]), dtype)
        for row, k, begin in zip(out, number[places], begins[places], strict=True):
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


def _static(static: Any, count: int, several: bool, number: Array) -> Rows:
    array = numbers("static", static)
    array = array[None] if not several else array
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"static: expected {f'({count}, S)' if several else '(S,)'}, got shape "
                         f"{np.shape(static)}")  # fmt: skip
    make: Callable[[Array], Array] = lambda places: array[number[places]]  # noqa: E731
    return Rows(make, (len(number), array.shape[1]), array.dtype)
