from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import activations
from .._arrays import boolean, check_shape, float_array, mask_array, positive
from .._kernels._pointwise import add_column_sums
from .._mlstm import mlstm_backward, mlstm_forward
from .._serialize import get, register
from ._products import matmul
from .base import Array
from .recurrent import Recurrent

_PARTS = ("", "gate_", "output_")  # of the weights' names
_sigmoid, _log_sigmoid = activations.get("sigmoid"), activations.get("log_sigmoid")


class _Places(NamedTuple):
    """Where the valid positions of a batch stand once they are moved to the front of their rows."""

    batch: int
    longest: int
    row: Array  # (P,) of each valid position, by row and then by position
    position: Array  # (P,)
    slot: Array  # (P,) its step, in the order of reading
    last: Array  # (P,) whether it is its row's last step

    @classmethod
    def of(cls, mask: Any, batch: int, time: int, backwards: bool) -> _Places:
        """mask: (B, T), or the lengths (B,), or None."""
        by_length = mask is not None and np.ndim(mask) == 1
        valid = mask_array(None if by_length else mask, mask if by_length else None, batch, time)
        if valid is None:
            valid = np.ones((batch, time), bool)
        row, position = np.nonzero(valid)
        lengths = valid.sum(axis=1)
        slot = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        if backwards:
            slot = lengths[row] - 1 - slot
        last = slot == lengths[row] - 1
        return cls(batch, int(lengths.max(initial=0)), row, position, slot, last)

    def front(self, values: Array, padding: float = 0) -> Array:
        """(P, C) to (B, longest, C)."""
        moved = np.full((self.batch, self.longest, values.shape[1]), padding, values.dtype)
        moved[self.row, self.slot] = values
        return moved

    def back(self, values: Array) -> Array:
        """(B, N, longest, ...) to (P, C)."""
        moved = values.swapaxes(1, 2)[self.row, self.slot]
        return moved.reshape(len(moved), math.prod(moved.shape[1:]))


@register("layer")
class MLSTM(Recurrent):
    """The LSTM with a matrix for a memory, of xLSTM (Beck et al. 2024, arXiv 2405.04517, mLSTM).

    No gate sees the output before, so a chunk of steps is some matrix products: fast where T is
    long. The equations stand in `clstm._reference_mlstm`, the form with chunks in `clstm._mlstm`;
    the output is y_t = o_t h_t, o = sigmoid(x W_o + b_o).

    Args:
        units: H, a multiple of `num_heads`.
        num_heads: N memories, each D x D with D = H / N.
        chunk_size: steps that are computed together; changes results by rounding alone.
        kernel_initializer, kernel_regularizer, kernel_constraint: of all three kernels.
        return_sequences: give y (B, T, H) of all steps, not that (B, H) of the last.
        return_state: give [outputs, C, n, m].
        go_backwards: read the sequence from its end; y then stands in the order of reading.
        stateful: each batch goes on from the state of the one before, until `reset_state()`.

    Inputs (B, T, I), or a list of them with the initial C (B, N, D, D), n (B, N, D) and m (B, N).
    Steps that the mask leaves out are skipped: y is 0 there, and C, n, m are the last valid ones; a
    row without a valid step has 0 as its last y.
    Weights: kernel (I, 3H) of q, k, v, in each the heads one after the other; gate_kernel (I, 2N),
    the heads' input gates, then their forget gates; output_kernel (I, H); bias (3H,), gate_bias
    (2N,), output_bias (H,). Biases start at 0, those of the forget gates at 3 to 6 over the heads,
    as in the authors' code.
    """

    state_names = ("C", "n", "m")

    def __init__(
        self,
        units: int,
        num_heads: int = 1,
        chunk_size: int = 64,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = positive("units", units)
        self.num_heads = positive("num_heads", num_heads)
        if self.units % self.num_heads:
            raise ValueError(f"num_heads: expected a divisor of the {units} units, got {num_heads}")
        self.chunk_size = positive("chunk_size", chunk_size)
        self.return_sequences = boolean("return_sequences", return_sequences)
        self.return_state = boolean("return_state", return_state)
        self.go_backwards = boolean("go_backwards", go_backwards)
        self.stateful = boolean("stateful", stateful)
        self.state: tuple[Array, ...] | None = None  # that a stateful layer carries
        self.kernel_initializer = get("initializer", kernel_initializer)
        self.kernel_regularizer = get("regularizer", kernel_regularizer)
        self.kernel_constraint = get("constraint", kernel_constraint)

    @property
    def head_size(self) -> int:
        """D"""
        return self.units // self.num_heads

    def build(self, input_shape: Any) -> None:
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        features = self.known_features(shape)
        columns = dict(zip(_PARTS, (3 * self.units, 2 * self.num_heads, self.units), strict=True))
        for part, size in columns.items():
            self.add_weight(f"{part}kernel", (features, size), self.kernel_initializer,
                            self.kernel_regularizer, self.kernel_constraint)  # fmt: skip
        for part, size in columns.items():
            self.add_weight(f"{part}bias", (size,), "zeros")
        self.params["gate_bias"][self.num_heads :] = np.linspace(3, 6, self.num_heads)

    def _state_shapes(self, batch: int | None) -> list[tuple[int | None, ...]]:
        heads, size = self.num_heads, self.head_size
        return [(batch, heads, size, size), (batch, heads, size), (batch, heads)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, time, _ = input_shape[0] if isinstance(input_shape, list) else input_shape
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return [output, *self._state_shapes(batch)] if self.return_state else output

    def compute_mask(self, inputs: Any, mask: Array | None) -> Array | None:
        return mask if self.return_sequences else None

    def may_mask(self, masked: bool) -> bool:
        return masked and self.return_sequences

    def reset_state(self) -> None:
        """Forget the state that a stateful layer carries."""
        self.state = None

    def _states(self, arrays: Any, batch: int, names: str) -> list[Array]:
        """C, n, m from `arrays`, zeros for None, checked; names: what they are called."""
        states = []
        for name, array, shape in zip(
            self.state_names, arrays, self._state_shapes(batch), strict=True
        ):
            name = f"{names} {name} of {self.name}"
            dtype = np.dtype(self.dtype)
            states.append(np.zeros(shape, dtype) if array is None else
                          float_array(name, array, dtype))  # fmt: skip
            check_shape(name, states[-1], shape)
        return states

    def _heads(self, a: Array) -> Array:
        """(B, L, H) as (B, N, L, D), a view."""
        return a.reshape(*a.shape[:2], self.num_heads, self.head_size).swapaxes(1, 2)

    def forward(
        self, inputs: Any, training: bool = False, mask: Array | None = None
    ) -> tuple[Any, Any]:
        several = isinstance(inputs, (list, tuple))
        x = self.cast(inputs[0] if several else inputs)
        batch, time, _ = x.shape
        if time == 0:
            raise ValueError(f"inputs of {self.name}: expected at least one time step, "
                             f"got shape {x.shape}")  # fmt: skip
        if several or self.state is None:
            state = self._states(inputs[1:] if several else [None] * 3, batch, "initial state")
        else:
            state = list(self.state)
            if len(state[0]) != batch:
                raise ValueError(
                    f"inputs of {self.name}: expected {len(state[0])} rows, as many as the state "
                    f"it carries (reset_state() drops that), got {batch}"
                )
        places = _Places.of(mask, batch, time, self.go_backwards)
        rows = x[places.row, places.position]
        z = {part: matmul(rows, self.params[f"{part}kernel"]) for part in _PARTS}
        z[""][:, self.units : 2 * self.units] *= self.head_size**-0.5
        for part in _PARTS:
            z[part] += self.params[f"{part}bias"]
        o = _sigmoid.forward(z["output_"])
        forget = z["gate_"][:, self.num_heads :]
        log_f = _log_sigmoid.forward(forget)

        q, k, v = (self._heads(a) for a in np.split(places.front(z[""]), 3, axis=-1))
        i = places.front(z["gate_"][:, : self.num_heads], -np.inf).swapaxes(1, 2)
        h, state, saved = mlstm_forward(q, k, v, i, places.front(log_f).swapaxes(1, 2),
                                        tuple(state), self.chunk_size)  # fmt: skip
        if self.stateful:
            self.state = tuple(a.copy() for a in state)
        h_rows = places.back(h)
        y = o * h_rows
        if self.return_sequences:
            outputs = np.zeros((batch, time, self.units), x.dtype)
            outputs[places.row, places.position] = y
            if self.go_backwards:
                outputs = outputs[:, ::-1]
        else:
            outputs = np.zeros((batch, self.units), x.dtype)
            outputs[places.row[places.last]] = y[places.last]
        tape = (x.shape, several, places, rows, z, o, log_f, h_rows, saved)
        return [outputs, *state] if self.return_state else outputs, tape

    def backward(self, tape: Any, d_outputs: Any, need_dx: bool = True) -> Any:
        shape, several, places, rows, z, o, log_f, h_rows, saved = tape
        d_output, *d_state = d_outputs if self.return_state else [d_outputs, None, None, None]
        d = np.zeros_like(h_rows)
        if d_output is not None and self.return_sequences:
            d_output = self.cast(d_output)
            if self.go_backwards:
                d_output = d_output[:, ::-1]
            d = d_output[places.row, places.position]
        elif d_output is not None:
            d[places.last] = self.cast(d_output)[places.row[places.last]]
        d_state = self._states(d_state, shape[0], "gradient of the final")
        dq, dk, dv, di, d_log_f, *d_initial = mlstm_backward(
            saved, self._heads(places.front(d * o)), tuple(d_state)
        )
        forget = z["gate_"][:, self.num_heads :]
        d_forget = _log_sigmoid.backward(places.back(d_log_f), forget, log_f)
        dz = {
            "": np.concatenate([places.back(a) for a in (dq, dk, dv)], axis=1),
            "gate_": np.concatenate([places.back(di), d_forget], axis=1),
            "output_": _sigmoid.backward(d * h_rows, z["output_"], o),
        }
        for part in _PARTS:
            add_column_sums(dz[part], self.grads[f"{part}bias"])
        dz[""][:, self.units : 2 * self.units] *= self.head_size**-0.5
        for part in _PARTS:
            matmul(rows, dz[part], self.grads[f"{part}kernel"], transpose_a=True, accumulate=True)
        dx = None
        if need_dx:
            d_rows = np.zeros_like(rows)
            for part in _PARTS:
                matmul(dz[part], self.params[f"{part}kernel"], d_rows, transpose_b=True,
                       accumulate=True)  # fmt: skip
            dx = np.zeros(shape, rows.dtype)
            dx[places.row, places.position] = d_rows
        return [dx, *d_initial] if several else dx
