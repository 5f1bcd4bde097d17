"""The layers of one LSTM, each reading what the one below it gives; one layer is a stack of one.

    y_1 = LSTM_1(x)      y_k = LSTM_k(d y_{k-1}) + y_{k-1}

d are the factors of layer_dropout; the sum is there with `residual`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _single
from .dropout import dropout_mask

if TYPE_CHECKING:
    from .lstm import LSTM

Array = np.ndarray


class Run(NamedTuple):
    """Of a run over a batch."""

    y: Array  # (B, T, P), aligned with x
    last: Array  # (B, P): y of each row's last valid step
    states: list[Array]  # layer by layer
    cells: list[Array]  # c and i f g o of all steps, if they were asked for
    gates: list[Array]
    tapes: list[tuple[_single.Tape, Array | None]]


def run(layer: LSTM, x: Array, states: list[Any], mask: Any, resets: Any, training: bool,
        keep: bool) -> Run:  # fmt: skip
    """states: one of each layer, None where it is to begin anew."""
    finals: list[Array] = []
    cells, gates, tapes = [], [], []
    last: Any = None
    for single, state in zip(layer.stack, states, strict=True):
        below, factors = x, None
        if last is not None and training and layer.layer_dropout:
            factors = dropout_mask(x.shape, layer.layer_dropout, x.dtype)
            x = x * factors
        new, state, tape = _single.run(single, x, state, mask, resets, training, keep)
        if last is None or not layer.residual:
            x, last = new, state[0]
        else:
            x, last = new + below, last + state[0]
        finals.extend(state)
        tapes.append((tape, factors))
        if layer.return_cells or layer.return_gates:
            c, ifgo = _single.inside(tape)
            cells.append(c)
            gates.append(ifgo)
    return Run(x, last, finals, cells, gates, tapes)


def backward(layer: LSTM, tapes: list[tuple[_single.Tape, Array | None]], dy: Array | None,
             d_last: Array | None, d_states: list[Array | None], need_dx: bool
             ) -> tuple[Array | None, list[Array]]:  # fmt: skip
    """Gradients of x and of the initial states, from those of y, of `last` and of the states."""
    d_initial: list[Array] = []
    size = len(d_states) // len(tapes)
    for k, single in reversed([*enumerate(layer.stack)]):
        tape, factors = tapes[k]
        dh, *others = d_states[k * size : (k + 1) * size]
        if d_last is not None and (layer.residual or k == len(tapes) - 1):
            dh = d_last if dh is None else dh + d_last
        dx, *d0 = _single.backward(single, tape, dy, [dh, *others], need_dx or k > 0)
        d_initial[:0] = d0
        if factors is not None:
            dx = dx * factors
        dy = dx + dy if k and layer.residual and dy is not None else dx
    return dy, d_initial
