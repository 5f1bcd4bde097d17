"""What a user passes becomes an array here, and errors about it are raised here.

Every error names the argument, what was expected and what was received.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def float_array(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """`value` as an aligned C-contiguous array of `dtype`, without a copy where it already is one.

    Takes any numbers: arrays of bool, int or float of any size, lists, anything with __array__.
    """
    if type(value) is np.ndarray:
        if value.dtype == dtype:
            if value.flags.carray:
                return value
        elif value.dtype.kind in "biuf":
            return value.astype(dtype, order="C")
    array = numbers(name, value)
    return np.require(array, dtype, ["C", "A"])


def real_array(name: str, value: Any) -> np.ndarray:
    """`value` as an array of float64 if it is one, else of float32."""
    return float_array(name, value, FLOATS[getattr(value, "dtype", None) == FLOATS[1]])


def numbers(name: str, value: Any) -> np.ndarray:
    """`value` as an array of real numbers, whatever their type."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a rectangular array, got a ragged one") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name}: expected an array of numbers, got dtype {array.dtype}")
    return array


def check_shape(name: str, array: np.ndarray, expected: Sequence[int | str | None]) -> None:
    """Raise ValueError unless the shape is `expected`; None or a letter stands for any size."""
    if array.shape == expected:
        return
    if len(array.shape) == len(expected):
        for size, want in zip(array.shape, expected, strict=True):
            if isinstance(want, int) and size != want:
                break
        else:
            return
    letters = ", ".join("any" if want is None else str(want) for want in expected)
    comma = "," if len(expected) == 1 else ""
    raise ValueError(f"{name}: expected shape ({letters}{comma}), got {array.shape}")


def float_dtype(name: str, value: Any) -> np.dtype:
    """np.dtype of float32 or float64 from a dtype or its name."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = None
    if dtype not in FLOATS:
        raise ValueError(f"{name}: expected float32 or float64, got {value!r}")
    return dtype


def flags(name: str, value: Any, batch: int, time: int) -> np.ndarray:
    """Booleans (B, T), or numbers that are 0 and 1."""
    array = numbers(name, value)
    check_shape(name, array, (batch, time))
    as_booleans = array.astype(bool, copy=False)
    if as_booleans is not array and not np.array_equal(as_booleans, array):
        bad = array[as_booleans != array][0]
        raise ValueError(f"{name}: expected booleans, or 0 and 1, got {bad}")
    return as_booleans


def reset_array(resets: Any, batch: int, time: int, reverse: bool) -> np.ndarray | None:
    """Where the state becomes 0 before the step (B, T), from where sequences begin.

    A run in reverse enters a sequence from its end, at the position before the next one begins.
    """
    if resets is None:
        return None
    begins = flags("resets", resets, batch, time)
    if not reverse:
        return begins
    enters = np.zeros_like(begins)
    enters[:, :-1] = begins[:, 1:]
    return enters


def mask_array(mask: Any, lengths: Any, batch: int, time: int) -> np.ndarray | None:
    """The valid positions (B, T) that `mask` or `lengths` describe; None if both are None."""
    if lengths is None:
        return None if mask is None else flags("mask", mask, batch, time)
    if mask is not None:
        raise ValueError("lengths: expected None beside a mask, got both")
    lengths = length_array("lengths", lengths, batch, time, " (the time steps of x)")
    return np.arange(time) < lengths[:, None]


def integers(name: str, value: Any) -> np.ndarray:
    """`value` as an array of integers of whatever type; an empty one may be of any numbers."""
    array = numbers(name, value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{name}: expected integers, got dtype {array.dtype}")
    return array


def length_array(name: str, value: Any, batch: int, most: int, what: str = "") -> np.ndarray:
    """`value` as integers (B,) in 0 .. most; what: said of `most`."""
    lengths = numbers(name, value)
    check_shape(name, lengths, (batch,))
    lengths = integers(name, lengths)
    if batch and (lengths.min() < 0 or lengths.max() > most):
        bad = lengths[(lengths < 0) | (lengths > most)][0]
        raise ValueError(f"{name}: expected 0 .. {most}{what}, got {bad}")
    return lengths


def step_counts(name: str, lengths: Any, batch: int, time: int) -> np.ndarray:
    """`lengths` as indices (B,) in 0 .. time for the kernels; None: all steps."""
    if lengths is None:
        return np.full(batch, time, np.intp)
    return np.ascontiguousarray(length_array(name, lengths, batch, time), np.intp)


def valid_first(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An index of (B, T, ...) that puts the valid steps (B, T) of each row first, in order."""
    return np.arange(len(valid))[:, None], np.argsort(~valid, axis=1, kind="stable")


def boolean(name: str, value: Any) -> bool:
    """`value` as a bool; TypeError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def integer(name: str, value: Any) -> int:
    """`value` as an int."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    return int(value)


def positive(name: str, value: Any) -> int:
    """`value` as an int of at least 1."""
    if integer(name, value) < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return int(value)


def whole(name: str, value: Any) -> int:
    """`value` as an int of at least 0."""
    if integer(name, value) < 0:
        raise ValueError(f"{name}: expected at least 0, got {value}")
    return int(value)


def number(name: str, value: Any, *, above: float | None = None, least: float | None = None,
           below: float | None = None, most: float | None = None) -> float:  # fmt: skip
    """`value` as a finite float: > above, >= least, < below, <= most, where these are given."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    limits = [(sign, limit) for sign, limit in
              ((">", above), (">=", least), ("<", below), ("<=", most))
              if limit is not None]  # fmt: skip
    if not (
        math.isfinite(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    ):
        words = " and ".join(f"{sign} {limit:g}" for sign, limit in limits)
        raise ValueError(f"{name}: expected a finite number {words}".rstrip() + f", got {value}")
    return float(value)


def one_or_more(name: str, value: Any, **limits: float) -> float | list[float]:
    """`value` as a `number` within limits, or as a list of at least one."""
    if not isinstance(value, (list, tuple, np.ndarray)):
        return number(name, value, **limits)
    if not len(value):
        raise ValueError(f"{name}: expected at least one number, got none")
    return [number(name, one, **limits) for one in value]


def fraction(name: str, value: Any) -> float:
    """`value` as a float in 0 <= value < 1."""
    return number(name, value, least=0, below=1)


def share(name: str, value: Any) -> float:
    """`value` as a float in 0 <= value <= 1."""
    return number(name, value, least=0, most=1)


def copy_into(targets: Sequence[np.ndarray], weights: Sequence[Any]) -> None:
    """Copy `weights` into `targets`; ValueError, before any copy, if a number or shape differs."""
    if len(weights) != len(targets):
        raise ValueError(f"weights: expected {len(targets)} arrays, got {len(weights)}")
    arrays = []
    for k, (weight, target) in enumerate(zip(weights, targets, strict=True)):
        arrays.append(float_array(f"weights[{k}]", weight, target.dtype))
        check_shape(f"weights[{k}]", arrays[-1], target.shape)
    for array, target in zip(arrays, targets, strict=True):
        target[...] = array
