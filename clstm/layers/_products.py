"""Matrix products of layers, by the backend in use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import _native_backend
from .._kernels._gemm import PackedMatrix
from ..functional import backend_module

Array = np.ndarray


def matmul(a: Array, b: Array, out: Array | None = None, **options: bool) -> Array:
    """`out` (a new array unless given) = a b by the backend in use."""
    if out is None:
        rows = a.shape[1] if options.get("transpose_a") else a.shape[0]
        columns = b.shape[0] if options.get("transpose_b") else b.shape[1]
        out = np.empty((rows, columns), a.dtype)
    backend_module(None, a.dtype).matmul(a, b, out, **options)
    return out


def multiplier(b: Array, transpose_b: bool = False) -> Callable[[Array], Array]:
    """The function a -> a b with a copy of b, laid out for few rows if the backend in use can."""
    if backend_module(None, b.dtype) is _native_backend:
        return PackedMatrix(b, transpose_b).times
    kept = b.copy()
    return lambda a: matmul(a, kept, transpose_b=transpose_b)
