"""The LSTM as pure functions on arrays.

Dimension letters: B batch, T time steps, I input features, H units. Parameters in Keras's layout:
kernel (I, 4H), recurrent_kernel (H, 4H), bias (4H), the gates in the order i f g o (input, forget,
candidate, output). The equations stand in `clstm._reference`, those of the options in
`clstm._cell`. With a projection h and y have P features, and recurrent_kernel is (P, 4H).

float32 and float64: the kernel's dtype decides, everything else is converted to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _native_backend, _reference, config
from ._arrays import FLOATS, check_shape, flags, float_array, mask_array, numbers, positive
from ._cell import PLAIN, Cell, make_cell
from ._kernels import _dispatch
from ._kernels._packed import PackedWeights, step_raw

Array = np.ndarray
State = tuple[Array, Array]

_NATIVE = ("auto", "native")  # settings with which single steps of float32 go the short way


class Grads(NamedTuple):
    """Gradients of one run, each in the shape of what it belongs to; None of what was not given."""

    x: Array | None
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    h0: Array
    c0: Array
    peephole: Array | None = None
    projection: Array | None = None
    projection_bias: Array | None = None
    norm_gain: Array | None = None
    cell_norm: Array | None = None


class Tape:
    """What `lstm_forward` keeps for `lstm_backward`, which uses it up."""

    def __init__(self, backend: Any, saved: Any, weights: _Weights, cell: Cell, y: Array,
                 h: Array):  # fmt: skip
        self.backend = backend
        self.saved = saved
        self.weights = weights
        self.cell = cell
        self.y_shape = y.shape
        self.batch = len(h)


class _Weights(NamedTuple):
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None


def backend_module(name: str | None, dtype: np.dtype, cell: Cell = PLAIN) -> Any:
    """The backend `name`, or the one in use, as a module with lstm_forward, lstm_backward, matmul.

    Work that it cannot do falls to the next that can, of native, blas and numpy: native does
    float32 on instruction sets with vectors; `supports` of each says which cells it knows.
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
    if native and _native_backend.supports(cell):
        return _native_backend
    from . import _blas_backend

    return _blas_backend if _blas_backend.supports(cell) else _reference


def _check_weights(kernel: Any, recurrent_kernel: Any, bias: Any, projected: bool = False
                   ) -> _Weights:  # fmt: skip
    kernel = numbers("kernel", kernel)
    dtype = kernel.dtype if kernel.dtype in FLOATS else FLOATS[0]
    kernel = float_array("kernel", kernel, dtype)
    recurrent_kernel = float_array("recurrent_kernel", recurrent_kernel, dtype)
    rows, columns = (0, 0) if recurrent_kernel.ndim != 2 else recurrent_kernel.shape
    if rows == 0 or columns % 4 or (columns != 4 * rows and not projected):
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
    return _Weights(kernel, recurrent_kernel, bias)


def _state(name: str, value: Any, batch: int, units: int, dtype: np.dtype) -> Array:
    """An array (B, H) from `value`, zeros from None."""
    if value is None:
        return np.zeros((batch, units), dtype)
    array = float_array(name, value, dtype)
    check_shape(name, array, (batch, units))
    return array


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if value is None:
        return None, None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{name}: expected a pair (h, c), got {type(value).__name__}")
    return value[0], value[1]


def _cell(weights: _Weights, options: dict[str, Any]) -> Cell:
    """The cell of keyword arguments."""
    if not options:
        return PLAIN
    unknown = options.keys() - make_cell.__kwdefaults__.keys()
    if unknown:
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    outputs, columns = weights.recurrent_kernel.shape
    return make_cell(columns // 4, outputs, weights.kernel.dtype, **options)


def _run(
    weights: _Weights, x: Any, initial_state: Any, lengths: Any, mask: Any, resets: Any,
    reverse: bool, time_major: bool, recurrent_mask: Any, backend: str | None, cell: Cell,
    keep: bool, packed: PackedWeights | None = None, checkpoint_every: int | None = None,
) -> tuple[Array, State, Any, Any]:  # fmt: skip
    dtype, (outputs, columns) = weights.kernel.dtype, weights.recurrent_kernel.shape
    x = float_array("x", x, dtype)
    check_shape("x", x, ("T" if time_major else "B", "B" if time_major else "T",
                         len(weights.kernel)))  # fmt: skip
    batch, time = (x.shape[1], x.shape[0]) if time_major else x.shape[:2]
    if time == 0:
        raise ValueError(f"x: expected at least one time step, got shape {x.shape}")
    h0, c0 = _pair("initial_state", initial_state)
    h0 = _state("initial_state[0]", h0, batch, outputs, dtype)
    c0 = _state("initial_state[1]", c0, batch, columns // 4, dtype)
    mask = mask_array(mask, lengths, batch, time)
    if resets is not None:
        resets = flags("resets", resets, batch, time)
    if recurrent_mask is not None:
        recurrent_mask = _state("recurrent_mask", recurrent_mask, batch, outputs, dtype)
    module = backend_module(backend, dtype, cell)
    options: dict[str, Any] = {}
    if packed is not None and module is _native_backend:
        options = {"panels": packed.panels}
    if checkpoint_every is not None and module is _native_backend:
        options = {"checkpoint_every": checkpoint_every}
    y, h, c, saved = module.lstm_forward(
        x, *weights, h0, c0, mask=mask, resets=resets, reverse=bool(reverse),
        recurrent_mask=recurrent_mask, cell=cell, time_major=bool(time_major), keep=keep,
        **options)  # fmt: skip
    return y, (h, c), module, saved


def lstm(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, backend: str | None = None,
    **cell: Any,
) -> tuple[Array, State]:  # fmt: skip
    """Run an LSTM over a batch of sequences; keeps nothing for a backward run.

    Args:
        x: (B, T, I), or (T, B, I) if `time_major`; T >= 1, B may be 0.
        kernel, recurrent_kernel, bias: (I, 4H), (H, 4H), (4H,) or None; gates i f g o.
        initial_state: (h, c), each (B, H) or None for zeros.
        lengths: (B,) integers in 0..T: positions past a row's length are not computed.
        mask: (B, T) booleans instead of lengths: False positions are skipped, in any pattern.
        resets: (B, T) booleans: at True positions the state becomes 0 before the step.
        reverse: visit every row's valid positions from the last to the first; y stays aligned
            with x.
        recurrent_mask: (B, H) factors of h_{t-1} inside the products: recurrent dropout
            (Gal & Ghahramani 2016).
        backend: "native", "blas", "numpy", "auto", or None for the one in `clstm.config`; a cell
            that it does not know runs on one that does.
        cell: options of the cell, of which `clstm._cell` has the equations:
            activation, recurrent_activation, cell_activation: of the candidate ("tanh"), of the
                gates ("sigmoid") and of c ("tanh", or as activation); any name or
                {"name": ..., "alpha": ..., "beta": ...} that `clstm.activations` knows.
            peephole: (3, H) weights of c in the gates i, f and o.
            coupled_input_forget: i = 1 - f.
            cell_clip: bound of |c|; preactivation_clip: of what enters the gates' activations.
            projection: (H, P); projection_bias: (P,); proj_clip: bound of the projected |h|. h, y,
                initial h and recurrent_mask then have P features, recurrent_kernel is (P, 4H).
            layer_norm: "gate", with norm_gain (4, H) of the gates i f g o, or "joint", with
                norm_gain (2, 4H) of x W and h U; cell_norm: (2, H) gain and shift of the
                normalised c in the output; norm_epsilon: added to the variances (1e-5).

    Returns:
        y, (h, c): y (B, T, H), or (T, B, H), is 0 at skipped positions; h and c (B, H) are each
        row's last valid state, its initial state if it has no valid position.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    if (
        type(initial_state) is tuple
        and lengths is mask is resets is recurrent_mask is backend is None
        and not time_major
        and not cell
        and config.get_backend() in _NATIVE
    ):
        step = step_raw(x, kernel, recurrent_kernel, bias, initial_state)
        if step is not None:
            return step
    weights = _check_weights(kernel, recurrent_kernel, bias, "projection" in cell)
    y, state, _, _ = _run(weights, x, initial_state, lengths, mask, resets, reverse, time_major,
                          recurrent_mask, backend, _cell(weights, cell), keep=False)  # fmt: skip
    return y, state


def lstm_forward(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, backend: str | None = None,
    checkpoint_every: int | None = None, **cell: Any,
) -> tuple[Array, State, Tape]:  # fmt: skip
    """As `lstm`, and keeps on a tape what `lstm_backward` needs: 4H gates and H cells a position.

    checkpoint_every: keep only the state before every so many steps (rounded up to whole chunks of
    512 positions); `lstm_backward` runs the steps between them once more. Same bits, about 4/3 of
    the time, and memory for that many steps; backends other than native keep everything.

    Returns y, (h, c), tape. The arrays passed, and y, must not change before the backward run.
    """
    if checkpoint_every is not None:
        checkpoint_every = positive("checkpoint_every", checkpoint_every)
    weights = _check_weights(kernel, recurrent_kernel, bias, "projection" in cell)
    made = _cell(weights, cell)
    y, state, module, saved = _run(weights, x, initial_state, lengths, mask, resets, reverse,
                                   time_major, recurrent_mask, backend, made, keep=True,
                                   checkpoint_every=checkpoint_every)  # fmt: skip
    return y, state, Tape(module, saved, weights, made, y, state[0])


def lstm_backward(
    tape: Tape, dy: Any = None, dh: Any = None, dc: Any = None, *, into: Any = None,
    into_cell: dict[str, Array] | None = None, need_dx: bool = True,
) -> Grads:  # fmt: skip
    """Gradients of a scalar loss through the run that made `tape`.

    Args:
        tape: from `lstm_forward`; it is used up, its gates become their gradients.
        dy: the loss's gradient with respect to y, in y's shape, or None; its values at skipped
            positions do not matter.
        dh, dc: gradients with respect to the final h and c, in their shapes, or None.
        into: arrays (d_kernel, d_recurrent_kernel, d_bias) that the weights' gradients are added
            to, or None for new ones; into_cell: likewise those of the cell's weights, by name.
        need_dx: False leaves out the gradient of x, which then is None.

    Returns:
        Grads: x, 0 at skipped positions, kernel, recurrent_kernel, bias, h0, c0, and those of the
        cell's weights that were given.
    """
    if not isinstance(tape, Tape):
        raise TypeError(f"tape: expected what lstm_forward gave, got {type(tape).__name__}")
    if tape.saved is None:
        raise ValueError("tape: expected one that no lstm_backward has used, got a used one")
    weights, cell = tape.weights, tape.cell
    dtype, (outputs, columns) = weights.kernel.dtype, weights.recurrent_kernel.shape
    if dy is not None:
        dy = float_array("dy", dy, dtype)
        check_shape("dy", dy, tape.y_shape)
    batch = tape.batch
    dh = _state("dh", dh, batch, outputs, dtype)
    dc = _state("dc", dc, batch, columns // 4, dtype)
    if into is None:
        into = [None if w is None else np.zeros_like(w) for w in weights]
    else:
        _check_into(into, weights)
    options: dict[str, Any] = {}
    if cell is not PLAIN:
        if into_cell is None:
            into_cell = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
        else:
            for name, weight in cell.weights.items():
                _check_target(f"into_cell[{name!r}]", into_cell.get(name), weight)
        options = {"d_cell": into_cell}
    saved, tape.saved = tape.saved, None
    try:
        dx, dh0, dc0 = tape.backend.lstm_backward(saved, dy, dh, dc, *into, need_dx=need_dx,
                                                  **options)  # fmt: skip
    except MemoryError:  # raised before anything was changed
        tape.saved = saved
        raise
    return Grads(dx, *into, dh0, dc0, **(into_cell or {}))


def _check_into(into: Any, weights: _Weights) -> None:
    if not isinstance(into, (tuple, list)) or len(into) != len(weights):
        raise ValueError("into: expected (d_kernel, d_recurrent_kernel, d_bias)")
    for k, (target, weight) in enumerate(zip(into, weights, strict=True)):
        if target is not None or (weight is not None and k != 2):
            _check_target(f"into[{k}]", target, weight)


def _check_target(name: str, target: Any, weight: Array | None) -> None:
    if (
        weight is None
        or type(target) is not np.ndarray
        or target.dtype != weight.dtype
        or target.shape != weight.shape
        or not target.flags.carray
    ):
        expected = None if weight is None else f"a writable {weight.dtype} {weight.shape}"
        raise ValueError(
            f"{name}: expected {expected} array in C order, got "
            f"{getattr(target, 'dtype', type(target).__name__)} {np.shape(target)}"
        )


class Packed:
    """Weights that are checked and laid out once, for serving: `pack(...)` makes one.

    Immutable, and safe to share among threads. Calling it is `lstm` without the weights.
    """

    def __init__(self, weights: _Weights, cell: Cell):
        self._weights = weights
        self._cell = cell
        self._packed = None
        if backend_module("auto", weights.kernel.dtype, cell) is _native_backend:
            self._packed = PackedWeights(*weights)

    def __call__(
        self, x: Any, initial_state: Any = None, lengths: Any = None, reverse: bool = False, *,
        mask: Any = None, resets: Any = None, time_major: bool = False,
        backend: str | None = None,
    ) -> tuple[Array, State]:  # fmt: skip
        """y, (h, c) as `lstm` gives them."""
        if (
            type(initial_state) is tuple
            and lengths is mask is resets is backend is None
            and not time_major
            and self._cell is PLAIN
            and self._packed is not None
            and config.get_backend() in _NATIVE
        ):
            step = self._packed.step(x, initial_state)
            if step is not None:
                return step
        y, state, _, _ = _run(self._weights, x, initial_state, lengths, mask, resets, reverse,
                              time_major, None, backend, self._cell, keep=False,
                              packed=self._packed)  # fmt: skip
        return y, state


def pack(kernel: Any, recurrent_kernel: Any, bias: Any = None, **cell: Any) -> Packed:
    """A handle that runs the LSTM with a copy of these weights, for inference.

    cell: options as those of `lstm`.
    """
    weights = _check_weights(kernel, recurrent_kernel, bias, "projection" in cell)
    weights = _Weights(*(None if w is None else w.copy() for w in weights))
    made = _cell(weights, cell)
    return Packed(weights, made._replace(**{n: w.copy() for n, w in made.weights.items()})
                  if made.weights else made)  # fmt: skip
