"""What a user passes to the LSTM functions, checked, and handed to the backend that can do it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _native_backend, _reference, config
from ._arrays import FLOATS, check_shape, float_array, mask_array, number, numbers, reset_array
from ._cell import NO_NOISE, PLAIN, Cell, Noise, make_cell
from ._kernels import _dispatch
from ._kernels._packed import PackedWeights

Array = np.ndarray
State = tuple[Array, Array]

SHORT_WAY = ("auto", "native")  # settings with which single steps of float32 go the short way


class Weights(NamedTuple):
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None


def backend_module(name: str | None, dtype: np.dtype, cell: Cell = PLAIN,
                   noise: Noise = NO_NOISE) -> Any:  # fmt: skip
    """The backend `name`, or the one in use, as a module with lstm_forward, lstm_backward, matmul.

    Work that it cannot do falls to the next that can, of native, blas and numpy: native does
    float32 on instruction sets with vectors; `supports` of each says what it knows.
    """
    if name is None:
        name = config.get_backend()
    if name not in ("auto", *config.BACKENDS):
        raise ValueError(
            f"backend: expected one of auto, {', '.join(config.BACKENDS)}, got {name!r}"
        )
    if name == "numpy":
        return _reference
    native = name != "blas" and dtype == FLOATS[0] and _dispatch.is_vector()
    if native and _native_backend.supports(cell, noise):
        return _native_backend
    from . import _blas_backend

    return _blas_backend if _blas_backend.supports(cell, noise) else _reference


def prepare(kernel: Any, recurrent_kernel: Any, bias: Any, options: dict[str, Any]
            ) -> tuple[Weights, Cell]:  # fmt: skip
    """The weights and the cell of keyword arguments, checked."""
    weights = _check_weights(kernel, recurrent_kernel, bias, options.get("projection") is not None)
    if not options:
        return weights, PLAIN
    known = make_cell.__kwdefaults__
    if unknown := options.keys() - known.keys():
        raise TypeError(f"{sorted(unknown)[0]}: not an argument; options of the cell are "
                        f"{', '.join(known)}")  # fmt: skip
    outputs, columns = weights.recurrent_kernel.shape
    return weights, make_cell(columns // 4, outputs, weights.kernel.dtype, **options)


def kernel_array(kernel: Any) -> Array:
    """`kernel` as an array of its own dtype, or float32: it decides that of a run."""
    kernel = numbers("kernel", kernel)
    return float_array("kernel", kernel, kernel.dtype if kernel.dtype in FLOATS else FLOATS[0])


def sequences(x: Any, kernel: Array, time_major: bool) -> tuple[Array, int, int]:
    """x as an array of kernel's dtype and features, B and T, which is at least 1."""
    x = float_array("x", x, kernel.dtype)
    check_shape("x", x, ("T" if time_major else "B", "B" if time_major else "T", len(kernel)))
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    if time == 0:
        raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
    return x, batch, time


def _check_weights(kernel: Any, recurrent_kernel: Any, bias: Any, projected: bool) -> Weights:
    kernel = kernel_array(kernel)
    dtype = kernel.dtype
    recurrent_kernel = float_array("recurrent_kernel", recurrent_kernel, dtype)
    rows, columns = (0, 0) if recurrent_kernel.ndim != 2 else recurrent_kernel.shape
    if rows == 0 or columns == 0 or columns % 4 or (columns != 4 * rows and not projected):
        raise ValueError(
            f"recurrent_kernel: expected shape {'(P, 4H)' if projected else '(H, 4H)'} with at "
            f"least one unit, got {recurrent_kernel.shape}"
        )
    units = columns // 4
    check_shape("kernel", kernel, ("I", 4 * units))
    if len(kernel) == 0:
        raise ValueError(f"kernel: expected at least one input feature, got {kernel.shape}")
    if bias is not None:
        bias = float_array("bias", bias, dtype)
        check_shape("bias", bias, (4 * units,))
    return Weights(kernel, recurrent_kernel, bias)


def state_array(name: str, value: Any, batch: int, units: int, dtype: np.dtype) -> Array:
    """An array (B, H) from `value`, zeros from None."""
    if value is None:
        return np.zeros((batch, units), dtype)
    array = float_array(name, value, dtype)
    check_shape(name, array, (batch, units))
    return array


def _check_noise(noise: Noise, positions: tuple[int, ...], batch: int, outputs: int, units: int,
                 dtype: np.dtype) -> Noise:  # fmt: skip
    """`noise` as arrays; a number becomes one row for all positions."""

    def checked(name: str, shape: tuple[int, ...]) -> Array | None:
        value = getattr(noise, name)
        if value is None:
            return None
        if name.startswith("zoneout") and np.ndim(value) == 0:
            return np.full((1, shape[-1]), number(name, value, least=0, most=1), dtype)
        array = float_array(name, value, dtype)
        check_shape(name, array, shape)
        return array

    return Noise(
        checked("recurrent_mask", (batch, outputs)),
        checked("candidate_mask", (*positions, units)),
        checked("zoneout_h", (*positions, outputs)),
        checked("zoneout_c", (*positions, units)),
    )


def pair(name: str, value: Any) -> tuple[Any, Any]:
    if value is None:
        return None, None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
        raise ValueError(f"{name}: expected a pair (h, c), got {type(value).__name__}{size}")
    return value[0], value[1]


def run(
    weights: Weights, x: Any, initial_state: Any, lengths: Any, mask: Any, resets: Any,
    reverse: bool, time_major: bool, noise: Noise, backend: str | None, cell: Cell,
    keep: bool, packed: PackedWeights | None = None, checkpoint_every: int | None = None,
    memory_budget: int | None = None,
) -> tuple[Array, State, Any, Any]:  # fmt: skip
    dtype, (outputs, columns) = weights.kernel.dtype, weights.recurrent_kernel.shape
    x, batch, time = sequences(x, weights.kernel, time_major)
    h0, c0 = pair("initial_state", initial_state)
    h0 = state_array("initial_state[0]", h0, batch, outputs, dtype)
    c0 = state_array("initial_state[1]", c0, batch, columns // 4, dtype)
    mask = mask_array(mask, lengths, batch, time)
    resets = reset_array(resets, batch, time, reverse)
    if noise is not NO_NOISE:
        noise = _check_noise(noise, x.shape[:2], batch, outputs, columns // 4, dtype)
    module = backend_module(backend, dtype, cell, noise)
    options: dict[str, Any] = {}
    if module is _native_backend:
        options = {"panels": packed.panels if packed else None,
                   "checkpoint_every": checkpoint_every,
                   "memory_budget": memory_budget}  # fmt: skip
    elif memory_budget is not None:
        raise ValueError("memory_budget: expected a run of the native backend, which alone "
                         "computes again what it does not keep (float32, a cell that it knows), "
                         f"got one of {module.__name__}")  # fmt: skip
    y, h, c, saved = module.lstm_forward(
        x, *weights, h0, c0, mask=mask, resets=resets, reverse=bool(reverse),
        noise=noise, cell=cell, time_major=bool(time_major), keep=keep,
        **options)  # fmt: skip
    return y, (h, c), module, saved
