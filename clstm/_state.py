"""States, trees of dicts and lists whose leaves are numbers, texts, None and arrays, for files."""

from __future__ import annotations

from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


def pack(value: Any, place: str, tensors: Tensors) -> Any:
    """The tree with {"tensor": name} or {"scalar": name} for NumPy's values, now in `tensors`.

    ValueError, naming the place, for what it cannot hold.
    """
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: pack(v, f"{place}/{k}", tensors) for k, v in value.items()}
    if isinstance(value, list):
        return [pack(v, f"{place}/{k}", tensors) for k, v in enumerate(value)]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        tensors[place] = np.array(value)
        return {"scalar" if isinstance(value, np.generic) else "tensor": place}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    found = "a dict by other keys" if isinstance(value, dict) else type(value).__name__
    raise ValueError(f"{place}: expected numbers, texts, arrays, and lists and dicts by texts of "
                     f"these, got {found}")  # fmt: skip


def unpack(value: Any, tensors: Tensors) -> Any:
    """What `pack` packed; KeyError for a tensor that is not there."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"} and isinstance(value["tensor"], str):
            return tensors[value["tensor"]]
        if value.keys() == {"scalar"} and isinstance(value["scalar"], str):
            return tensors[value["scalar"]][()]
        return {k: unpack(v, tensors) for k, v in value.items()}
    return [unpack(v, tensors) for v in value] if isinstance(value, list) else value
