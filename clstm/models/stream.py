from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import check_shape, float_array, numbers, positive
from ..functional import Packed
from ..layers import (
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    LayerNormalization,
    TimeDistributed,
)
from ..layers.base import Layer

Array = np.ndarray
State = tuple[Array, Array]

_STEPWISE = (Dense, Activation, Dropout, Embedding, LayerNormalization, TimeDistributed)


class Stream:
    """A model that is fed one step at a time: `model.stream(batch_size)` makes one.

    It has a copy of the LSTMs' weights as they are now, and a state of its own, at first 0; the
    other layers are the model's. After T steps its output is, bit for bit on the native backend,
    the model's for the sequence of these steps.
    """

    def __init__(self, layers: Sequence[Layer], batch_size: int):
        self.batch_size = positive("batch_size", batch_size)
        self._parts: list[Layer | Packed] = []
        self._states: list[State] = []
        for layer in layers:
            if isinstance(layer, LSTM) and not layer.go_backwards and not layer.return_state:
                self._parts.append(layer.pack())
                self._states.append(_zeros(layer, batch_size))
            elif isinstance(layer, _STEPWISE):
                self._parts.append(layer)
            else:
                raise ValueError(
                    f"model: expected layers that read step by step, got {type(layer).__name__} "
                    f"{layer.name!r}"
                )
        if not self._states:
            raise ValueError("model: expected at least one LSTM, got none")

    def step(self, x: Any) -> Array:
        """The output (B, ...) after the next step, x: (B, features), or (B,) for an Embedding."""
        y = numbers("x", x)
        if len(y) != self.batch_size or y.ndim != (1 if self._reads_numbers else 2):
            shape = "" if self._reads_numbers else ", features"
            raise ValueError(f"x: expected shape ({self.batch_size}{shape}), got {y.shape}")
        y = y[:, None]
        states = []
        for part in self._parts:
            if isinstance(part, Packed):
                y, state = part(y, self._states[len(states)])
                states.append(state)
            else:
                y = part.infer(y)
        self._states = states
        return y[:, 0]

    @property
    def _reads_numbers(self) -> bool:
        return isinstance(self._parts[0], Embedding)

    def reset(self, rows: Any = None) -> None:
        """Set the state of all rows, or of those of `rows`, an index, to 0: a new sequence."""
        select = slice(None) if rows is None else rows
        states = [(h.copy(), c.copy()) for h, c in self._states]
        for state in states:
            for array in state:
                array[select] = 0
        self._states = states

    @property
    def state(self) -> list[State]:
        """(h, c) of each LSTM, from the first to the last: copies; settable."""
        return [(h.copy(), c.copy()) for h, c in self._states]

    @state.setter
    def state(self, states: Sequence[Any]) -> None:
        if len(states) != len(self._states):
            raise ValueError(f"state: expected {len(self._states)} pairs (h, c), got {len(states)}")
        new = []
        for k, (state, old) in enumerate(zip(states, self._states, strict=True)):
            pair = [float_array(f"state[{k}]", a, o.dtype) for a, o in zip(state, old, strict=True)]
            for array, o in zip(pair, old, strict=True):
                check_shape(f"state[{k}]", array, o.shape)
            new.append((pair[0].copy(), pair[1].copy()))
        self._states = new


def _zeros(layer: LSTM, batch_size: int) -> State:
    return (np.zeros((batch_size, layer.features), layer.dtype),
            np.zeros((batch_size, layer.units), layer.dtype))  # fmt: skip
