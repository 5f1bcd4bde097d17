"""minLSTM as pure functions on arrays; its equations stand in `clstm._reference_minlstm`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _native_backend, _native_minlstm, _reference_minlstm
from ._arrays import check_shape, float_array, mask_array, reset_array
from ._run import Array, backend_module, kernel_array, sequences, state_array


class Tape(NamedTuple):
    """What `minlstm_forward` keeps for `minlstm_backward`, which changes none of it."""

    backend: Any
    saved: Any
    y_shape: tuple[int, ...]
    batch: int


def _backend(name: str | None, dtype: np.dtype) -> Any:
    native = backend_module(name, dtype) is _native_backend
    return _native_minlstm if native else _reference_minlstm


def _state(name: str, value: Any, batch: int, units: int, dtype: np.dtype) -> Array:
    """h (B, H) of a state (h,), zeros of None."""
    if value is None:
        value = (None,)
    if not isinstance(value, (tuple, list)) or len(value) != 1:
        size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
        raise ValueError(f"{name}: expected (h,), got {type(value).__name__}{size}")
    return state_array(f"{name}[0]", value[0], batch, units, dtype)


def _run(
    x: Any, kernel: Any, bias: Any, initial_state: Any, lengths: Any, mask: Any, resets: Any,
    reverse: bool, time_major: bool, backend: str | None, keep: bool,
) -> tuple[Array, Array, Any, Any]:  # fmt: skip
    kernel = kernel_array(kernel)
    dtype = kernel.dtype
    if kernel.ndim != 2 or kernel.size == 0 or kernel.shape[1] % 3:
        raise ValueError(
            f"kernel: expected shape (I, 3H) with at least one input feature and one unit, "
            f"got {kernel.shape}"
        )
    units = kernel.shape[1] // 3
    if bias is not None:
        bias = float_array("bias", bias, dtype)
        check_shape("bias", bias, (3 * units,))
    x, batch, time = sequences(x, kernel, time_major)
    h = _state("initial_state", initial_state, batch, units, dtype)
    mask = mask_array(mask, lengths, batch, time)
    resets = reset_array(resets, batch, time, reverse)
    module = _backend(backend, dtype)
    y, h, saved = module.minlstm_forward(x, kernel, bias, h, mask=mask, resets=resets,
                                         reverse=bool(reverse), time_major=bool(time_major),
                                         keep=keep)  # fmt: skip
    return y, h, module, saved


def minlstm(
    x: Any, kernel: Any, bias: Any = None, *, initial_state: Any = None, lengths: Any = None,
    mask: Any = None, resets: Any = None, reverse: bool = False, time_major: bool = False,
    backend: str | None = None,
) -> tuple[Array, tuple[Array]]:  # fmt: skip
    """Run minLSTM (Feng et al. 2024, arXiv 2410.01201) over a batch of sequences.

    Its gates do not see h, so that all products are one; h_t = f' h_{t-1} + i' g_t with
    f' = f / (f + i), i' = i / (f + i), f and i sigmoids and g linear: the paper's form without
    logarithms.

    Args:
        x: (B, T, I), or (T, B, I) if `time_major`; T >= 1, B may be 0.
        kernel, bias: (I, 3H), (3H,) or None; columns i f g. The kernel's dtype, float32 or
            float64, is that of all.
        initial_state: (h,), h (B, H), or None for zeros.
        lengths: (B,) integers in 0..T: positions past a row's length are not computed.
        mask: (B, T) booleans instead of lengths: False positions are skipped, in any pattern.
        resets: (B, T) booleans: at True positions a new sequence begins, with an h of 0; a run
            in reverse enters the sequence before it with that.
        reverse: visit every row's valid positions from the last to the first; y stays aligned
            with x.
        backend: "native", "blas", "numpy", "auto", or None for the one in `clstm.config`. Native
            does float32; all else is NumPy's.

    Returns:
        y, (h,): y (B, T, H), or (T, B, H), is 0 at skipped positions; h (B, H) is each row's last
        valid one, its initial one if it has no valid position.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    y, h, _, _ = _run(x, kernel, bias, initial_state, lengths, mask, resets, reverse, time_major,
                      backend, keep=False)  # fmt: skip
    return y, (h,)


def minlstm_forward(
    x: Any, kernel: Any, bias: Any = None, *, initial_state: Any = None, lengths: Any = None,
    mask: Any = None, resets: Any = None, reverse: bool = False, time_major: bool = False,
    backend: str | None = None,
) -> tuple[Array, tuple[Array], Tape]:  # fmt: skip
    """As `minlstm`, and keeps on a tape what `minlstm_backward` needs: 3H numbers a position.

    Returns y, (h,), tape. The arrays passed, and y, must not change before the backward run.
    """
    y, h, module, saved = _run(x, kernel, bias, initial_state, lengths, mask, resets, reverse,
                               time_major, backend, keep=True)  # fmt: skip
    return y, (h,), Tape(module, saved, y.shape, len(h))


def minlstm_backward(
    tape: Tape, dy: Any = None, d_state: Any = None, *, need_dx: bool = True
) -> tuple[Array | None, dict[str, Array | None], tuple[Array]]:
    """Gradients of a scalar loss through the run that made `tape`, which stays whole.

    Args:
        tape: from `minlstm_forward`.
        dy: the loss's gradient with respect to y, in y's shape, or None; its values at skipped
            positions do not matter.
        d_state: (dh,), with respect to the final h (B, H), or None.
        need_dx: False leaves out the gradient of x, which then is None.

    Returns:
        dx, 0 at skipped positions; {"kernel": (I, 3H), "bias": (3H,), or None if there is none};
        (dh0,).
    """
    if not isinstance(tape, Tape):
        raise TypeError(f"tape: expected what minlstm_forward gave, got {type(tape).__name__}")
    kernel = tape.saved.kernel
    if dy is not None:
        dy = float_array("dy", dy, kernel.dtype)
        check_shape("dy", dy, tape.y_shape)
    dh = _state("d_state", d_state, tape.batch, kernel.shape[1] // 3, kernel.dtype)
    dx, d_kernel, d_bias, dh0 = tape.backend.minlstm_backward(tape.saved, dy, dh, need_dx)
    return dx, {"kernel": d_kernel, "bias": d_bias}, (dh0,)
