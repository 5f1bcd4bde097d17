"""The forms in which users have sequences, and the one in which transforms see them.

An array (T,), (T, F) or (N, T, F), a list of (T_i,) or (T_i, F) arrays, a frame of pandas or polars
with a row for each step, or a list of frames: each becomes parts (T_i, F), and goes back to what it
was. Frames are known by what they can do; neither library is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Form(NamedTuple):
    """What the sequences were given in.

    several: a list or (N, T, F), else one sequence. kinds: of each part "series" (T,), "matrix"
    (T, F), "pandas" or "polars". stacked: one array (N, T, F). indexes: of pandas frames.
    """

    several: bool
    stacked: bool
    kinds: list[str]
    indexes: list[Any]
    makers: list[Any]


class Table(NamedTuple):
    """Sequences as transforms see them.

    parts: (T_i, F), float32 or float64, or objects where they were asked for. columns: the names of
    the features, None without frames. times: (T_i,) datetime64 of each part, where the frame has an
    index of time; None.
    """

    parts: list[Array]
    columns: tuple[str, ...] | None
    times: list[Array | None]
    form: Form

    @property
    def features(self) -> int:
        return self.parts[0].shape[1]

    def name(self, column: int) -> str:
        """Of a feature, for messages."""
        return f"column {column if self.columns is None else repr(self.columns[column])}"

    def map(self, function: Callable[[Array], Array]) -> Table:
        """`function` of every part, with as many rows and columns."""
        return self._replace(parts=[function(part) for part in self.parts])

    def keep_rows(self, rows: Sequence[Array]) -> Table:
        """Of each part the rows that are named, by number or by booleans."""
        form = self.form._replace(indexes=[None if index is None else index[r] for index, r in
                                           zip(self.form.indexes, rows, strict=True)])  # fmt: skip
        return self._replace(
            parts=[part[r] for part, r in zip(self.parts, rows, strict=True)],
            times=[None if t is None else t[r] for t, r in zip(self.times, rows, strict=True)],
            form=form,
        )

    def keep_parts(self, which: Sequence[int]) -> Table:
        """The sequences that are named by number; at least one of several."""
        form = self.form
        return self._replace(
            parts=[self.parts[k] for k in which], times=[self.times[k] for k in which],
            form=form._replace(kinds=[form.kinds[k] for k in which],
                               indexes=[form.indexes[k] for k in which],
                               makers=[form.makers[k] for k in which]),
        )  # fmt: skip

    def with_columns(self, parts: list[Array], names: Sequence[str]) -> Table:
        """Other columns: parts (T_i, F'), and their names for frames."""
        kinds = ["matrix" if kind == "series" and parts[0].shape[1] != 1 else kind
                 for kind in self.form.kinds]  # fmt: skip
        return self._replace(parts=parts, columns=None if self.columns is None else tuple(names),
                             form=self.form._replace(kinds=kinds))  # fmt: skip

    def give(self) -> Any:
        """What was read, with these values: an array where all sequences are of one length."""
        form = self.form
        if form.stacked and len({len(part) for part in self.parts}) == 1:
            return np.stack(self.parts)
        each = [_give(*of_part, self.columns) for of_part in
                zip(self.parts, form.kinds, form.indexes, form.makers, strict=True)]  # fmt: skip
        return each if form.several else each[0]


def read(name: str, x: Any, objects: bool = False) -> Table:
    """The sequences of the argument `name`.

    objects: values may be anything; else they are numbers, NaN for what is missing, and become
    float32, if all are, or float64.

    Raises:
        TypeError, ValueError: it is none of the forms; the sequence or column is named.
    """
    several = isinstance(x, (list, tuple))
    stacked = isinstance(x, np.ndarray) and x.ndim == 3
    if stacked and isinstance(x, np.ma.MaskedArray):
        x = _unmasked(x)
    given = list(x) if several or stacked else [x]
    if not given:
        raise ValueError(f"{name}: expected at least one sequence, got none")
    if stacked and not objects:
        x = _numbers(name, x, None)
        given = list(x)
    read_parts = [_read(f"{name}[{k}]" if several else name, part, objects)
                  for k, part in enumerate(given)]  # fmt: skip
    parts, kinds, columns, times, indexes, makers = (list(c) for c in zip(*read_parts, strict=True))
    for k, (part, names) in enumerate(zip(parts, columns, strict=True)):
        if part.shape[1] != parts[0].shape[1]:
            raise ValueError(f"{name}[{k}]: expected {parts[0].shape[1]} features, as in "
                             f"{name}[0], got {part.shape[1]}")  # fmt: skip
        if names != columns[0]:
            raise ValueError(f"{name}[{k}]: expected the columns {columns[0]}, as {name}[0] has, "
                             f"got {names}")  # fmt: skip
    if not objects:
        dtype = np.result_type(*parts)
        parts = [part.astype(dtype, copy=False) for part in parts]
    form = Form(several or stacked, stacked, kinds, indexes, makers)
    return Table(parts, columns[0], times, form)


def require_rising(name: str, table: Table) -> None:
    """Raise ValueError unless the times of each part, where it has some, rise from row to row."""
    for k, times in enumerate(table.times):
        if times is not None and not (np.diff(times.astype(np.int64)) > 0).all():
            row = int(np.argmax(np.diff(times.astype(np.int64)) <= 0)) + 1
            which = f"{name}[{k}]" if table.form.several else name
            raise ValueError(f"{which}: expected times that rise, got {times[row]} at row {row} "
                             f"after {times[row - 1]}")  # fmt: skip


def _read(name: str, x: Any, objects: bool) -> tuple[Any, ...]:
    """part, kind, columns, times, index and class of one sequence."""
    if hasattr(x, "iloc") and hasattr(x, "to_numpy"):
        series = x.ndim == 1
        frame = x.to_frame("0" if x.name is None else x.name) if series else x
        columns = tuple(str(column) for column in frame.columns)
        parts = [_column(f"{name}[{c!r}]", frame.iloc[:, k], objects)
                 for k, c in enumerate(columns)]  # fmt: skip
        kind = "pandas series" if series else "pandas"
        maker = _Maker(type(x), type(frame), [x.name] if series else list(frame.columns))
        return _joined(name, parts, len(frame)), kind, columns, _times(x.index), x.index, maker
    if hasattr(x, "get_columns") and hasattr(x, "to_numpy"):
        columns = tuple(x.columns)
        parts = [_column(f"{name}[{c!r}]", values, objects)
                 for c, values in zip(columns, x.get_columns(), strict=True)]  # fmt: skip
        return _joined(name, parts, len(x)), "polars", columns, None, None, type(x)
    try:
        array = _unmasked(x) if isinstance(x, np.ma.MaskedArray) else np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name}: expected a rectangular array, got a ragged one") from error
    if array.ndim not in (1, 2):
        raise ValueError(f"{name}: expected a sequence (T,) or (T, F), an array (N, T, F) or a "
                         f"list of sequences, got shape {array.shape}")  # fmt: skip
    if not objects:
        array = _numbers(name, array, None)
    kind = "series" if array.ndim == 1 else "matrix"
    part = array[:, None] if array.ndim == 1 else array
    if part.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one feature, got none")
    return part, kind, None, None, None, None


class _Maker(NamedTuple):
    """Classes of pandas, and how the columns were called, whatever type that is."""

    series: Any
    frame: Any
    labels: list[Any]


def _unmasked(x: Any) -> Array:
    """A masked array with NaN for what is masked."""
    return x.filled(np.nan) if x.dtype.kind == "f" else x.astype(np.float64).filled(np.nan)


def _times(index: Any) -> Array | None:
    """datetime64 of an index of times, of moments in a zone, or of periods; None of others."""
    if getattr(index, "tz", None) is not None:
        index = index.tz_convert(None)
    elif hasattr(index, "to_timestamp") and hasattr(index, "freqstr"):
        index = index.to_timestamp()
    array = np.asarray(index)
    return array if array.dtype.kind == "M" else None


def _column(name: str, values: Any, objects: bool) -> Array:
    array = values.to_numpy()
    if objects:
        return array.astype(object)
    if array.dtype.kind == "M" or array.dtype.kind == "m":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    return _numbers(name, array, values)


def _numbers(name: str, array: Array, nullable: Any) -> Array:
    """As floats; `nullable`: the column of a frame, whose missing values are to be NaN."""
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return array
    if array.dtype.kind in "biuf":
        return array.astype(np.float32 if array.dtype.name == "float16" else np.float64)
    if nullable is not None and array.dtype == object:
        kept = [np.nan if is_missing(value) else value for value in array.tolist()]
        if all(isinstance(value, (bool, int, float, np.number)) for value in kept):
            return np.array(kept, np.float64)
    raise TypeError(f"{name}: expected numbers, got {array.dtype}")


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, or what pandas has for it."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def _joined(name: str, columns: list[Array], rows: int) -> Array:
    if not columns:
        raise ValueError(f"{name}: expected at least one column, got none")
    if all(column.dtype == object for column in columns):
        part = np.empty((rows, len(columns)), object)
        for k, column in enumerate(columns):
            part[:, k] = column
        return part
    return np.stack(columns, axis=1)


def _give(part: Array, kind: str, index: Any, maker: Any, columns: tuple[str, ...] | None) -> Any:
    if kind == "series":
        return part[:, 0]
    if kind == "matrix":
        return part
    if kind == "polars":
        return maker({name: part[:, k] for k, name in enumerate(columns or ())})
    same = columns is not None and tuple(map(str, maker.labels)) == columns
    same = same or (maker.labels == [None] and part.shape[1] == 1)
    if kind == "pandas series" and part.shape[1] == 1:
        return maker.series(part[:, 0], index=index,
                            name=maker.labels[0] if same else (columns or (None,))[0])  # fmt: skip
    return maker.frame(part, index=index, columns=maker.labels if same else list(columns or ()))
