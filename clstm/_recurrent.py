"""Runs of the RNN and the sLSTM: what a user passes, checked, and handed to a backend.

The equations stand in `clstm._reference_recurrent`; `clstm._rnn` and `clstm._slstm` have the
public functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _native_backend, _native_recurrent, _reference_recurrent
from ._arrays import check_shape, float_array, mask_array, reset_array
from ._reference_recurrent import Cell, Run
from ._run import backend_module, kernel_array, sequences, state_array

Array = np.ndarray


class Options(NamedTuple):
    """Keyword arguments that both cells take."""

    initial_state: Any
    lengths: Any
    mask: Any
    resets: Any
    reverse: bool
    time_major: bool
    recurrent_mask: Any
    backend: str | None


class Tape:
    """What `rnn_forward` or `slstm_forward` keeps for its backward run, which uses it up."""

    def __init__(self, cell: Cell, backend: Any, saved: Any, y: Array):
        self.cell = cell
        self.backend = backend
        self.saved = saved
        self.y_shape = y.shape
        self.dtype = y.dtype
        self.batch = y.shape[1 if saved.run.time_major else 0]


def weights(kernel: Any, recurrent_kernel: Any, bias: Any, gates: int
            ) -> tuple[Array, Array, Array | None]:  # fmt: skip
    """kernel (I, G H), recurrent_kernel (heads, D, G D), or (H, H) of the RNN, and bias, checked.

    The kernel's dtype decides.
    """
    kernel = kernel_array(kernel)
    dtype = kernel.dtype
    recurrent_kernel = float_array("recurrent_kernel", recurrent_kernel, dtype)
    shape, form = recurrent_kernel.shape, "(H, H)" if gates == 1 else "(heads, D, 4D)"
    if len(shape) != (2 if gates == 1 else 3) or 0 in shape or shape[-1] != gates * shape[-2]:
        raise ValueError(f"recurrent_kernel: expected shape {form} with at least one unit, "
                         f"got {shape}")  # fmt: skip
    if gates == 1:
        recurrent_kernel = recurrent_kernel[None]
    columns = len(recurrent_kernel) * shape[-1]
    check_shape("kernel", kernel, ("I", columns))
    if len(kernel) == 0:
        raise ValueError(f"kernel: expected at least one input feature, got {kernel.shape}")
    if bias is not None:
        bias = float_array("bias", bias, dtype)
        check_shape("bias", bias, (columns,))
    return kernel, recurrent_kernel, bias


def forward(
    cell: Cell, x: Any, weights: tuple[Array, Array, Array | None], options: Options, names: str,
    keep: bool,
) -> tuple[Array, Any, Any]:  # fmt: skip
    """y, the final state, and the tape if `keep`; names: of the state's parts, "h c n m"."""
    kernel, recurrent_kernel, bias = weights
    heads, depth = recurrent_kernel.shape[:2]
    dtype, units, time_major = kernel.dtype, heads * depth, bool(options.time_major)
    x, batch, time = sequences(x, kernel, time_major)
    state = _state("initial_state", options.initial_state, names, batch, units, dtype)
    if cell.name == "slstm" and (bad := state[2][state[2] < 0]).size:
        raise ValueError(f"initial_state[2]: expected n of at least 0, got {bad[0]}")
    mask = mask_array(options.mask, options.lengths, batch, time)
    recurrent_mask = options.recurrent_mask
    resets = reset_array(options.resets, batch, time, options.reverse)
    if recurrent_mask is not None:
        recurrent_mask = state_array("recurrent_mask", recurrent_mask, batch, units, dtype)
    run = Run(cell, x, kernel, recurrent_kernel, bias, recurrent_mask, mask, resets,
              bool(options.reverse), time_major)  # fmt: skip
    module = _backend(options.backend, dtype, cell)
    y, state, saved = module.forward(run, state, keep)
    return y, state, Tape(cell, module, saved, y) if keep else None


def backward(name: str, tape: Any, dy: Any, d_state: Any, names: str, need_dx: bool
             ) -> tuple[Array | None, dict[str, Array], Any]:  # fmt: skip
    """dx, the weights' gradients by name, and those of the initial state's parts `names`."""
    if not isinstance(tape, Tape) or tape.cell.name != name:
        kind = type(tape).__name__
        got = f"{kind} of {tape.cell.name}" if isinstance(tape, Tape) else kind
        raise TypeError(f"tape: expected what {name}_forward gave, got {got}")
    if tape.saved is None:
        raise ValueError(f"tape: expected one that no {name}_backward has used, got a used one")
    if dy is not None:
        dy = float_array("dy", dy, tape.dtype)
        check_shape("dy", dy, tape.y_shape)
    d_state = _state("d_state", d_state, names, tape.batch, tape.y_shape[2], tape.dtype)
    saved, tape.saved = tape.saved, None
    try:
        dx, grads, d_state = tape.backend.backward(saved, dy, d_state, need_dx)
    except MemoryError:  # raised before anything was changed
        tape.saved = saved
        raise
    if name == "rnn":
        grads[1] = grads[1][0]
    return dx, dict(zip(("kernel", "recurrent_kernel", "bias"), grads, strict=False)), d_state


def _backend(name: str | None, dtype: np.dtype, cell: Cell) -> Any:
    native = backend_module(name, dtype) is _native_backend and _native_recurrent.supports(cell)
    return _native_recurrent if native else _reference_recurrent


def _state(argument: str, value: Any, names: str, batch: int, units: int, dtype: np.dtype
           ) -> tuple[Array, ...]:  # fmt: skip
    """A tuple of arrays (B, H), zeros for None."""
    parts = names.split()
    if value is None:
        value = [None] * len(parts)
    if not isinstance(value, (tuple, list)) or len(value) != len(parts):
        size = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
        raise ValueError(f"{argument}: expected a tuple ({', '.join(parts)}{',' * (len(parts) < 2)}"
                         f"), got {type(value).__name__}{size}")  # fmt: skip
    return tuple(state_array(f"{argument}[{k}]", v, batch, units, dtype)
                 for k, v in enumerate(value))  # fmt: skip
