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

from . import config
from ._arrays import check_shape, float_array, positive
from ._cell import NO_NOISE, Cell, Noise
from ._checkpoints import read_budget
from ._crf import crf_loss, crf_marginals
from ._ctc import ctc_loss
from ._kernels._packed import step_raw
from ._minlstm import minlstm, minlstm_backward, minlstm_forward
from ._pack import Packed, pack
from ._rnn import rnn, rnn_backward, rnn_forward
from ._run import (
    SHORT_WAY,
    Array,
    State,
    Weights,
    backend_module,
    prepare,
    run,
    state_array,
)
from ._slstm import slstm, slstm_backward, slstm_forward

__all__ = [
    "Grads", "Packed", "Tape", "backend_module", "crf_loss", "crf_marginals", "ctc_loss", "lstm",
    "lstm_backward", "lstm_forward", "lstm_gates", "minlstm", "minlstm_backward",
    "minlstm_forward", "pack", "rnn", "rnn_backward", "rnn_forward", "slstm", "slstm_backward",
    "slstm_forward",
]  # fmt: skip


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

    def __init__(self, backend: Any, saved: Any, weights: Weights, cell: Cell, y: Array,
                 h: Array):  # fmt: skip
        self.backend = backend
        self.saved = saved
        self.weights = weights
        self.cell = cell
        self.y_shape = y.shape
        self.batch = len(h)


def lstm(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, candidate_mask: Any = None,
    zoneout_h: Any = None, zoneout_c: Any = None, backend: str | None = None,
    **cell: Any,
) -> tuple[Array, State]:  # fmt: skip
    """Run an LSTM over a batch of sequences; keeps nothing for a backward run.

    Args:
        x: (B, T, I), or (T, B, I) if `time_major`; T >= 1, B may be 0.
        kernel, recurrent_kernel, bias: (I, 4H), (H, 4H), (4H,) or None; gates i f g o.
        initial_state: (h, c), each (B, H) or None for zeros.
        lengths: (B,) integers in 0..T: positions past a row's length are not computed.
        mask: (B, T) booleans instead of lengths: False positions are skipped, in any pattern.
        resets: (B, T) booleans: at True positions a new sequence begins, with a state of 0;
            a run in reverse enters the sequence before it with that.
        reverse: visit every row's valid positions from the last to the first; y stays aligned
            with x.
        recurrent_mask: (B, H) factors of h_{t-1} inside the products: recurrent dropout
            (Gal & Ghahramani 2016).
        candidate_mask: (B, T, H), or (T, B, H) if `time_major`, factors of the candidates g:
            recurrent dropout with a new mask at each step (Semeniuta et al. 2016).
        zoneout_h, zoneout_c: shares of h_{t-1} and c_{t-1} that the step keeps (Krueger et al.
            2017): 0s and 1s in the shapes of y and candidate_mask, or one number, the rate, for
            what is to be expected.
        backend: "native", "blas", "numpy", "auto", or None for the one in `clstm.config`; a cell
            that it does not know runs on one that does.
        cell: options of the cell, of which `clstm._cell` has the equations:
            activation, recurrent_activation, cell_activation: of the candidate ("tanh"), of the
                gates ("sigmoid") and of c ("tanh", or as activation); any name or
                {"name": ..., "alpha": ..., "beta": ...} that `clstm.activations` knows.
            peephole: (3, H) weights of c in the gates i, f and o.
            coupled_input_forget: i = 1 - f.
            cell_clip: bound of |c|; preactivation_clip: of what enters the gates' activations;
                gradient_clip: of the gradient of each of these, on its way back.
            projection: (H, P); projection_bias: (P,); proj_clip: bound of the projected |h|. h, y,
                initial h and recurrent_mask then have P features, recurrent_kernel is (P, 4H).
            layer_norm: "gate", with norm_gain (4, H) of the gates i f g o, or "joint", with
                norm_gain (2, 4H) of x W and h U; cell_norm: (2, H) gain and shift of the
                normalised c in the output, and with carry_cell_norm in the state too;
                norm_epsilon: added to the variances (1e-5).

    Returns:
        y, (h, c): y (B, T, H), or (T, B, H), is 0 at skipped positions; h and c (B, H) are each
        row's last valid state, its initial state if it has no valid position.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    if (
        type(initial_state) is tuple
        and lengths is mask is resets is recurrent_mask is candidate_mask is backend is None
        and zoneout_h is zoneout_c is None
        and not time_major
        and not cell
        and config.get_backend() in SHORT_WAY
    ):
        step = step_raw(x, kernel, recurrent_kernel, bias, initial_state)
        if step is not None:
            return step
    weights, made = prepare(kernel, recurrent_kernel, bias, cell)
    y, state, _, _ = run(weights, x, initial_state, lengths, mask, resets, reverse, time_major,
                          _noise(recurrent_mask, candidate_mask, zoneout_h, zoneout_c), backend,
                          made, keep=False)  # fmt: skip
    return y, state


def lstm_forward(
    x: Any, kernel: Any, recurrent_kernel: Any, bias: Any = None, *, initial_state: Any = None,
    lengths: Any = None, mask: Any = None, resets: Any = None, reverse: bool = False,
    time_major: bool = False, recurrent_mask: Any = None, candidate_mask: Any = None,
    zoneout_h: Any = None, zoneout_c: Any = None, backend: str | None = None,
    checkpoint_every: int | None = None, memory_budget: int | str | None = None, **cell: Any,
) -> tuple[Array, State, Tape]:  # fmt: skip
    """As `lstm`, and keeps on a tape what `lstm_backward` needs: 4H gates and H cells a position.

    checkpoint_every: keep only the state before every so many steps (rounded up to whole chunks of
    512 positions); `lstm_backward` runs the steps between them once more. Same bits, about 4/3 of
    the time, and memory for that many steps; backends other than native keep everything.

    memory_budget: instead, bytes as an int or as "512MB" (B, KB, MB, GB, KiB, MiB, GiB): everything
    is kept if that fits, else checkpoint_every becomes the largest number of steps that does.
    Counted is what the tape and the steps run once more take at one time: 4H gates and H cells a
    position that is kept, H rounded up to 16; H more with a projection, 4H + 8 or 8H + 16 more
    with layer norm "gate" or "joint", H + 8 with cell_norm; c0, and layer norm's sums of a step; h
    and c before every segment, and once more where one is run again; the initial h,
    recurrent_mask, and the plan of the steps (8 bytes a position, 16 or 24 a step). Not counted are
    what the caller has (x, y, noise, gradients), and what every run takes for a while: packed
    copies of the weights, one copy of their gradients, and sums over one chunk. ValueError names
    the least budget that would do, or says that the run cannot be one of the native backend.

    Returns y, (h, c), tape. The arrays passed, and y, must not change before the backward run.
    """
    if checkpoint_every is not None:
        checkpoint_every = positive("checkpoint_every", checkpoint_every)
    memory_budget = read_budget(memory_budget, checkpoint_every)
    weights, made = prepare(kernel, recurrent_kernel, bias, cell)
    y, state, module, saved = run(weights, x, initial_state, lengths, mask, resets, reverse,
                                   time_major,
                                   _noise(recurrent_mask, candidate_mask, zoneout_h, zoneout_c),
                                   backend, made, keep=True,
                                   checkpoint_every=checkpoint_every,
                                   memory_budget=memory_budget)  # fmt: skip
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
            to, or None for new ones; into_cell: likewise those of the cell's weights, by name. None
            may share memory with another, or with a weight.
        need_dx: False leaves out the gradient of x, which then is None.

    Returns:
        Grads: x, 0 at skipped positions, kernel, recurrent_kernel, bias, h0, c0, and those of the
        cell's weights that were given.
    """
    _unused(tape)
    weights, cell = tape.weights, tape.cell
    dtype, (outputs, columns) = weights.kernel.dtype, weights.recurrent_kernel.shape
    if dy is not None:
        dy = float_array("dy", dy, dtype)
        check_shape("dy", dy, tape.y_shape)
    batch = tape.batch
    dh = state_array("dh", dh, batch, outputs, dtype)
    dc = state_array("dc", dc, batch, columns // 4, dtype)
    if into is None:
        into = [None if w is None else np.zeros_like(w) for w in weights]
    else:
        _check_into(into, weights)
    if into_cell is None:
        into_cell = {name: np.zeros_like(weight) for name, weight in cell.weights.items()}
    else:
        _check_into_cell(into_cell, cell)
    saved, tape.saved = tape.saved, None
    try:
        dx, dh0, dc0 = tape.backend.lstm_backward(saved, dy, dh, dc, *into, need_dx=need_dx,
                                                  d_cell=into_cell)  # fmt: skip
    except MemoryError:  # raised before anything was changed
        tape.saved = saved
        raise
    return Grads(dx, *into, dh0, dc0, **into_cell)


def lstm_gates(tape: Tape) -> tuple[Array, Array]:
    """What the run that made `tape` computed inside its cells.

    Args:
        tape: from `lstm_forward` without checkpoint_every, not used up by `lstm_backward`.

    Returns:
        cells (B, T, H): c of all steps; gates (B, T, 4H): i f g o, after their activations. (T, B,
        ...) as y, aligned with x, 0 at skipped positions; of the weights' dtype, new.

    Raises:
        TypeError, ValueError: the tape is none, used, or keeps no gates.
    """
    cells, gates = _unused(tape).backend.lstm_gates(tape.saved)
    return cells, gates


def _unused(tape: Any) -> Tape:
    if not isinstance(tape, Tape):
        raise TypeError(f"tape: expected what lstm_forward gave, got {type(tape).__name__}")
    if tape.saved is None:
        raise ValueError("tape: expected one that no lstm_backward has used, got a used one")
    return tape


def _noise(*values: Any) -> Noise:
    return NO_NOISE if all(value is None for value in values) else Noise(*values)


def _check_into(into: Any, weights: Weights) -> None:
    if not isinstance(into, (tuple, list)) or len(into) != len(weights):
        size = f" of {len(into)}" if isinstance(into, (tuple, list)) else ""
        raise ValueError(f"into: expected (d_kernel, d_recurrent_kernel, d_bias), got "
                         f"{type(into).__name__}{size}")  # fmt: skip
    for k, (target, weight) in enumerate(zip(into, weights, strict=True)):
        if target is not None or (weight is not None and k != 2):
            _check_target(f"into[{k}]", target, weight)


def _check_into_cell(into_cell: Any, cell: Cell) -> None:
    names = cell.weights.keys()
    if not isinstance(into_cell, dict) or into_cell.keys() != names:
        got = sorted(into_cell) if isinstance(into_cell, dict) else type(into_cell).__name__
        raise ValueError(f"into_cell: expected a dict of {sorted(names)}, got {got}")
    for name, weight in cell.weights.items():
        _check_target(f"into_cell[{name!r}]", into_cell[name], weight)


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
