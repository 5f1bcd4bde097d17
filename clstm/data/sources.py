"""Batches for a model out of what a user passed as x, y and sample_weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import positive
from .batches import ArraySource, Batch, IterableSource, Source, is_iterable_of_batches, made
from .reader import array_of, check_rows


def open_source(
    model: Any, x: Any, y: Any, weight: Any, batch_size: int | None, steps: int | None, *,
    steps_name: str = "steps", class_weight: Any = None, labelled: bool = True,
    goes_on: bool = False,
) -> Source:  # fmt: skip
    """The source; builds a model that waits for the shape of its inputs.

    class_weight is used for iterables alone: the caller weighs arrays when they are split.
    """
    if x is None:
        raise ValueError("x: expected arrays or an iterable of batches, got None")
    steps = None if steps is None else positive(steps_name, steps)
    size = 32 if batch_size is None else positive("batch_size", batch_size)
    if is_iterable_of_batches(x):
        if y is not None or weight is not None:
            raise ValueError("y: expected None beside an iterable x, whose batches are (x, y)")

        def convert(bx: Any, by: Any, bw: Any) -> Batch:
            if not labelled:
                by = bw = None
            elif by is None:
                raise ValueError("x: expected batches (x, y), got batches without y")
            return read_batch(model, bx, by, bw, class_weight)

        return IterableSource(x, steps, convert, goes_on)
    if labelled and y is None:
        raise ValueError("y: expected labels, got None")
    batch = _read(model, x, y, weight)
    if batch.rows == 0 and labelled:
        raise ValueError("x: expected at least one row, got none")
    return ArraySource(batch, size, steps, goes_on)


def read_batch(model: Any, x: Any, y: Any, weight: Any, class_weight: Any = None) -> Batch:
    """Arrays for the model, which is built, if it is not yet, for such x."""
    return made(_read(model, x, y, weight, class_weight))


def _read(model: Any, x: Any, y: Any, weight: Any, class_weight: Any = None) -> Batch:
    if not model.built:  # a Sequential: one input, one output
        rows = len(array_of("x", x)) if np.ndim(x) else 0
        for name, value in (("y", y), ("sample_weight", weight)):
            if value is not None and not isinstance(value, dict):
                check_rows(name, array_of(name, value), rows)
        model._require_built(x)
    return model._reader.batch(x, y, weight, class_weight)


def check_stateful(model: Any, source: Source) -> None:
    """Raise ValueError if a last, smaller batch would not fit the state of a layer."""
    if not isinstance(source, ArraySource):
        return
    for layer in model._executor.stateful():
        if source.rows > source.batch_size and source.rows % source.batch_size:
            raise ValueError(
                f"batch_size: expected a divisor of the {source.rows} rows for the stateful "
                f"layer {layer.name}, got {source.batch_size}"
            )
