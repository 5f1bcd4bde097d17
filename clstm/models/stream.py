from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import check_shape, float_array, numbers, positive
from ..layers import (
    LSTM,
    Activation,
    Dense,
    Dropout,
    Embedding,
    LayerNormalization,
    TimeDistributed,
    _single,
)
from ..layers.base import Layer

Array = np.ndarray
State = tuple[Array, ...]

_STEPWISE = (Dense, Activation, Dropout, Embedding, LayerNormalization, TimeDistributed)


class _Cell(NamedTuple):
    """One layer of an LSTM."""

    run: Callable[..., tuple[Array, State]]
    residual: bool  # its input is added to its output


class Stream:
    """A model that is fed one step at a time: `model.stream(batch_size)` makes one.

    It has a copy of the weights as they are now, and a state of its own, at first 0 or what was
    learned: for one thread. After T steps its output is, bit for bit on the native backend, the
    model's for the sequence of these steps.
    """

    def __init__(self, layers: Sequence[Layer], features: tuple[int, ...], batch_size: int):
        self.batch_size = positive("batch_size", batch_size)
        self._features = features  # of one step of the inputs; () for an Embedding
        self._parts: list[Layer | _Cell] = []
        self._initial: list[State] = []
        for layer in layers:
            if isinstance(layer, LSTM) and _reads_on(layer):
                for k, single in enumerate(layer.stack):
                    self._parts.append(_Cell(_single.handle(single), layer.residual and k > 0))
                    self._initial.append(_single.initial_state(single, batch_size))
            elif isinstance(layer, _STEPWISE) and not getattr(layer, "mask_zero", False):
                self._parts.append(copy.deepcopy(layer))
            else:
                raise ValueError(
                    f"model: expected layers that read step by step, without masks, got "
                    f"{type(layer).__name__} {layer.name!r}"
                )
        if not self._initial:
            raise ValueError("model: expected at least one LSTM, got none")
        self._states = self._initial

    def step(self, x: Any) -> Array:
        """The output (B, ...) after the next step, x: (B, features), or (B,) for an Embedding."""
        y = numbers("x", x)
        check_shape("x", y, (self.batch_size, *self._features))
        y = y[:, None]
        states = []
        for part in self._parts:
            if isinstance(part, Layer):
                y = part.infer(y)
            else:
                new, state = part.run(y, self._states[len(states)])
                y = new + y if part.residual else new
                states.append(state)
        self._states = states
        return y[:, 0]

    def reset(self, rows: Any = None) -> None:
        """Let all rows, or those of `rows`, numbers or (B,) booleans, begin a new sequence: set
        their state to the initial one."""
        select = slice(None) if rows is None else _index(rows, self.batch_size)
        states = self.state
        for state, initial in zip(states, self._initial, strict=True):
            for array, start in zip(state, initial, strict=True):
                array[select] = start[select]
        self._states = states

    @property
    def state(self) -> list[State]:
        """(h, c), or what else its cell has, of each layer of each LSTM, from the first to the
        last: copies; settable."""
        return [tuple(a.copy() for a in state) for state in self._states]

    @state.setter
    def state(self, states: Sequence[Any]) -> None:
        if not isinstance(states, (list, tuple)) or len(states) != len(self._states):
            size = f" of {len(states)}" if isinstance(states, (list, tuple)) else ""
            raise ValueError(f"state: expected {len(self._states)} states, such as (h, c), got "
                             f"{type(states).__name__}{size}")  # fmt: skip
        new = []
        for k, (given, old) in enumerate(zip(states, self._states, strict=True)):
            arrays = []
            if not isinstance(given, (tuple, list)) or len(given) != len(old):
                size = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
                raise ValueError(f"state[{k}]: expected {len(old)} arrays, as `state` gives them, "
                                 f"got {type(given).__name__}{size}")  # fmt: skip
            for value, o in zip(given, old, strict=True):
                arrays.append(float_array(f"state[{k}]", value, o.dtype).copy())
                check_shape(f"state[{k}]", arrays[-1], o.shape)
            new.append(tuple(arrays))
        self._states = new


def _reads_on(layer: LSTM) -> bool:
    """Whether it reads forwards and has one output."""
    several = layer.return_state or layer.return_cells or layer.return_gates
    return not (layer.go_backwards or several)


def _index(rows: Any, batch_size: int) -> Array:
    """Rows, as numbers in 0 .. B - 1 or as (B,) booleans; ValueError for others."""
    index = np.atleast_1d(numbers("rows", rows))
    if index.dtype == bool:
        check_shape("rows", index, (batch_size,))
        return index
    if index.size and (index.dtype.kind not in "iu" or index.min() < 0
                       or index.max() >= batch_size):  # fmt: skip
        raise ValueError(f"rows: expected integers in 0 .. {batch_size - 1}, got {rows!r}")
    return index.astype(np.intp)
