"""What an LSTM layer does with a batch, be it one layer or several, each reading the one below.

    y_1 = LSTM_1(x)      y_k = LSTM_k(d y_{k-1}) + y_{k-1}

d are the factors of layer_dropout; the sum is there with `residual`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arrays import mask_array
from .._run import state_array
from . import _single
from .base import Array
from .dropout import dropout_mask
from .recurrent import Recurrent

if TYPE_CHECKING:
    from .lstm import LSTM


class _Run(NamedTuple):
    """Of a run over a batch."""

    y: Array  # (B, T, P), aligned with x
    last: Array  # (B, P): y of each row's last valid step
    states: list[Array]  # layer by layer
    cells: list[Array]  # c and i f g o of all steps, if they were asked for
    gates: list[Array]
    tapes: list[tuple[_single.Tape, Array | None]]


class Stack(Recurrent):
    """Base of LSTM, which brings the layers and their options."""

    takes_resets = True
    sizes: list[int]  # H of each layer
    num_layers: int
    return_sequences: bool
    return_state: bool
    return_cells: bool
    return_gates: bool
    go_backwards: bool
    stateful: bool
    residual: bool
    layer_dropout: float
    above: list[LSTM]
    state: tuple[Array, ...] | None
    carries_state: bool

    @property
    def stack(self) -> list[Any]:
        """All layers, this one as the first."""
        return [self, *self.above]

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, time, _ = input_shape[0] if isinstance(input_shape, list) else input_shape
        size = self.stack[-1].features
        outputs = [(batch, time, size) if self.return_sequences else (batch, size)]
        if self.return_state:
            outputs += [(batch, n) for layer in self.stack for n in _single.state_sizes(layer)]
        if self.return_cells:
            outputs += [(batch, time, n) for n in self.sizes]
        if self.return_gates:
            outputs += [(batch, time, 4 * n) for n in self.sizes]
        return outputs if len(outputs) > 1 else outputs[0]

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array | None:
        return mask if self.return_sequences else None

    def may_mask(self, masked: bool) -> bool:
        return masked and self.return_sequences

    def reset_state(self) -> None:
        """Forget the state that a stateful layer carries."""
        self.state = None

    def _run(self, inputs: Any, training: bool, mask: Any, resets: Any, keep: bool
             ) -> tuple[Any, Any]:  # fmt: skip
        several = isinstance(inputs, (list, tuple))
        x = self.cast(inputs[0] if several else inputs)
        if mask is not None and np.ndim(mask) == 1:
            mask = mask_array(None, mask, *x.shape[:2])
        states = self._states(inputs[1:] if several else None, x)
        keep = keep or self.return_cells or self.return_gates
        run = self._layers(x, states, mask, resets, training, keep)
        if self.stateful or self.carries_state:
            self.state = tuple(a.copy() for a in run.states)
        outputs = [self._in_order_of_reading(run.y) if self.return_sequences else run.last]
        if self.return_state:
            outputs += run.states
        if self.return_cells:
            outputs += map(self._in_order_of_reading, run.cells)
        if self.return_gates:
            outputs += map(self._in_order_of_reading, run.gates)
        return outputs if len(outputs) > 1 else outputs[0], (run.tapes, several)

    def _in_order_of_reading(self, y: Array) -> Array:
        return y[:, ::-1] if self.go_backwards else y

    def _states(self, given: Any, x: Array) -> list[Any]:
        """The initial state of each layer, None where it is to begin anew."""
        names = self.state_names
        if given is not None:
            if len(given) != len(names):
                raise ValueError(f"initial_state of {self.name}: expected {len(names)} arrays "
                                 f"({', '.join(names)}), got {len(given)}")  # fmt: skip
            sizes = [n for layer in self.stack for n in _single.state_sizes(layer)]
            given = [state_array(f"initial_state[{k}]", a, len(x), n, x.dtype)
                     for k, (a, n) in enumerate(zip(given, sizes, strict=True))]  # fmt: skip
        elif self.state is not None:
            given = self.state
            if len(given[0]) != len(x):
                raise ValueError(
                    f"inputs of {self.name}: expected {len(given[0])} rows, as many as the state "
                    f"it carries (reset_state() drops that), got {len(x)}"
                )
        else:
            return [None] * self.num_layers
        size = len(given) // self.num_layers
        return [tuple(given[k : k + size]) for k in range(0, len(given), size)]

    def infer(self, inputs: Any, mask: Array | None = None, resets: Any = None) -> Any:
        return self._run(inputs, False, mask, resets, keep=False)[0]

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None, resets: Any = None
    ) -> tuple[Any, Any]:
        return self._run(inputs, training, mask, resets, keep=True)

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        tapes, several = tape
        d, *others = d_outputs if isinstance(d_outputs, (list, tuple)) else [d_outputs]
        size = len(self.state_names)
        d_states = others[:size] if self.return_state else [None] * size
        if any(np.any(a) for a in others[size if self.return_state else 0 :] if a is not None):
            raise ValueError("d_outputs: expected None for cells and gates, through which no "
                             "gradient flows, got an array")  # fmt: skip
        dy = d_last = None
        if self.return_sequences:
            dy = None if d is None else self._in_order_of_reading(d)
        else:
            d_last = d
        dx, d_initial = self._layers_backward(tapes, dy, d_last, d_states, need_dx)
        return [dx, *d_initial] if several else dx

    def _layers(self, x: Array, states: list[Any], mask: Any, resets: Any, training: bool,
                keep: bool) -> _Run:  # fmt: skip
        """states: one of each layer, None where it is to begin anew."""
        finals: list[Array] = []
        cells, gates, tapes = [], [], []
        last: Any = None
        for single, state in zip(self.stack, states, strict=True):
            below, factors = x, None
            if last is not None and training and self.layer_dropout:
                factors = dropout_mask(self, x.shape, self.layer_dropout)
                x = x * factors
            new, state, tape = _single.run(single, x, state, mask, resets, training, keep)
            if last is None or not self.residual:
                x, last = new, state[0]
            else:
                x, last = new + below, last + state[0]
            finals.extend(state)
            tapes.append((tape, factors))
            if self.return_cells or self.return_gates:
                c, ifgo = _single.inside(tape)
                cells.append(c)
                gates.append(ifgo)
        return _Run(x, last, finals, cells, gates, tapes)

    def _layers_backward(
        self, tapes: list[tuple[_single.Tape, Array | None]], dy: Array | None,
        d_last: Array | None, d_states: list[Array | None], need_dx: bool,
    ) -> tuple[Array | None, list[Array]]:  # fmt: skip
        """Gradients of x and of the initial states, from those of y, `last` and the states."""
        d_initial: list[Array] = []
        size = len(d_states) // len(tapes)
        for k, single in reversed([*enumerate(self.stack)]):
            tape, factors = tapes[k]
            dh, *others = d_states[k * size : (k + 1) * size]
            if d_last is not None and (self.residual or k == len(tapes) - 1):
                dh = d_last if dh is None else dh + d_last
            dx, *d0 = _single.backward(single, tape, dy, [dh, *others], need_dx or k > 0)
            d_initial[:0] = d0
            if factors is not None:
                dx = dx * factors
            dy = dx + dy if k and self.residual and dy is not None else dx
        return dy, d_initial
