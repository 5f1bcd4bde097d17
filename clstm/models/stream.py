from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arrays import check_shape, float_array, numbers, positive
from ..graph import Node, Symbol
from ..layers import (
    LSTM,
    Activation,
    Add,
    Attention,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    LayerNormalization,
    MultiHeadAttention,
    TiedDense,
    TimeDistributed,
    _single,
)
from .executor import input_mask

if TYPE_CHECKING:
    from .model import Model

Array = np.ndarray
State = tuple[Array, ...]

_STEPWISE = (Dense, Activation, Dropout, Embedding, LayerNormalization, TiedDense,
             TimeDistributed)  # fmt: skip


class _Part(NamedTuple):
    """One layer's work of a step: values (B, 1, ...) by slots."""

    run: Callable[..., Any]
    inputs: list[int]
    output: int
    state: int | None  # which, of an LSTM
    residual: bool  # its input is added to its output


class Stream:
    """A model that is fed one step at a time: `model.stream(batch_size)` makes one.

    It has a copy of the weights as they are now, and a state of its own, at first 0, or what was
    learned, or what the context says: for one thread. After T steps its output is, bit for bit on
    the native backend, the model's for the sequence of these steps (additive attention: nearly).
    """

    def __init__(self, model: Model, batch_size: int, context: Any = None):
        self.batch_size = positive("batch_size", batch_size)
        fed, given = _read_context(model, self.batch_size, context)
        values, masks = _run_context(model, given)
        self._build(model, fed, values, masks)

    def _build(self, model: Model, fed: Symbol, values: dict[int, Array],
               masks: dict[int, Array | None]) -> None:  # fmt: skip
        """Of what depends on the context alone: values and masks by the id of their symbol."""
        self._origin = model, fed, values, masks
        self._features = fed.shape[2:]  # of one step of the inputs; () for an Embedding
        self._parts: list[_Part] = []
        self._initial: list[State] = []
        self._slots: dict[int, int] = {id(fed): 0}
        self._values: list[Any] = [None]
        if len(model.outputs) > 1:
            raise ValueError(f"model: expected one output, got {len(model.outputs)}")
        for node in model._nodes:
            if not all(id(s) in values for s in node.sources()):
                self._add(node, values, masks)
        if id(model.outputs[0]) not in self._slots:
            raise ValueError("model: expected an output that depends on the steps, got one of the "
                             "context alone")  # fmt: skip
        self._output = self._slots[id(model.outputs[0])]
        if not self._initial:
            raise ValueError("model: expected at least one LSTM, got none")
        self._states = self._initial

    def _add(self, node: Node, values: dict[int, Array], masks: dict[int, Array | None]) -> None:
        """The parts of a node that is fed."""
        layer = node.layer
        fixed = [id(s) in values for s in node.inputs]
        known = [values.get(id(s)) for s in node.inputs]
        if node.mask is None and isinstance(layer, LSTM) and _reads_on(layer) and not fixed[0]:
            source, states = self._slot(node.inputs[0]), known[1:]
            size = len(layer.state_names) // layer.num_layers
            for k, single in enumerate(layer.stack):
                initial = _single.initial_state(single, self.batch_size)
                if states:
                    initial = tuple(a.copy() for a in states[k * size : (k + 1) * size])
                run, residual = _single.handle(single), layer.residual and k > 0
                source = self._part(run, [source], len(self._initial), residual)
                self._initial.append(initial)
            self._slots[id(node.outputs[0])] = source
        elif (node.mask is None and isinstance(layer, (Attention, MultiHeadAttention))
                and len(fixed) > 1 and not fixed[0] and all(fixed[1:])
                and not layer.return_attention_scores):  # fmt: skip
            if layer.causal:
                raise self._unfit(layer)  # the position of a query is not known here
            memory = layer.remember(known[1:], [masks[id(s)] for s in node.inputs[1:]])
            run = copy.deepcopy(layer).recall
            source = self._part(lambda query: run(query, memory), [self._slot(node.inputs[0])])
            self._slots[id(node.outputs[0])] = source
        elif node.mask is None and isinstance(layer, (*_STEPWISE, Add, Concatenate)):
            inputs = []
            for symbol, value in zip(node.inputs, known, strict=True):
                if value is None:
                    inputs.append(self._slot(symbol))
                elif value.ndim == 2:  # beside the last step of a sequence
                    self._values.append(value[:, None])
                    inputs.append(len(self._values) - 1)
                else:
                    raise self._unfit(layer)
            run = copy.deepcopy(layer).infer
            if isinstance(layer, Concatenate):
                if layer.axis % len(node.inputs[0].shape) != len(node.inputs[0].shape) - 1:
                    raise self._unfit(layer)  # along time
                run = functools.partial(np.concatenate, axis=-1)
            elif getattr(layer, "mask_zero", False):
                run = _tokens(run, layer.name)
            self._slots[id(node.outputs[0])] = self._part(run, inputs)
        else:
            raise self._unfit(layer)

    def _part(self, run: Callable[..., Any], inputs: list[int], state: int | None = None,
              residual: bool = False) -> int:  # fmt: skip
        self._values.append(None)
        self._parts.append(_Part(run, inputs, len(self._values) - 1, state, residual))
        return len(self._values) - 1

    def _slot(self, symbol: Symbol) -> int:
        if id(symbol) not in self._slots:
            raise self._unfit(symbol.node.layer)
        return self._slots[id(symbol)]

    @staticmethod
    def _unfit(layer: Any) -> ValueError:
        return ValueError(f"model: expected layers that read step by step, without masks, got "
                          f"{type(layer).__name__} {layer.name!r}")  # fmt: skip

    def step(self, x: Any) -> Array:
        """The output (B, ...) after the next step, x: (B, features), or (B,) for an Embedding."""
        y = numbers("x", x)
        check_shape("x", y, (self.batch_size, *self._features))
        values = self._values
        values[0] = y[:, None]
        states = list(self._states)
        for run, inputs, output, state, residual in self._parts:
            x = values[inputs[0]] if len(inputs) == 1 else [values[k] for k in inputs]
            if state is None:
                values[output] = run(x)
            else:
                new, states[state] = run(x, states[state])
                values[output] = new + x if residual else new
        self._states = states
        return values[self._output][:, 0]

    def reset(self, rows: Any = None) -> None:
        """Let all rows, or those of `rows`, numbers or (B,) booleans, begin a new sequence: set
        their state to the initial one."""
        select = slice(None) if rows is None else _index(rows, self.batch_size)
        states = self.state
        for state, initial in zip(states, self._initial, strict=True):
            for array, start in zip(state, initial, strict=True):
                array[select] = start[select]
        self._states = states

    def reorder(self, rows: Any) -> None:
        """Let row k go on from the state of row rows[k], rows (B,) integers: for beam search. The
        context stays where it is."""
        index = _index(rows, self.batch_size)
        check_shape("rows", index, (self.batch_size,))
        self._states = [tuple(a[index] for a in state) for state in self._states]

    def repeat(self, times: int) -> Stream:
        """A stream in which each row stands so many times, one after the other, with its state and
        context."""
        positive("times", times)
        model, fed, values, masks = self._origin
        new = copy.copy(self)
        new.batch_size = self.batch_size * times
        repeated = {k: np.repeat(a, times, axis=0) for k, a in values.items()}
        new._build(model, fed, repeated,
                   {k: None if a is None else np.repeat(a, times, axis=0)
                    for k, a in masks.items()})  # fmt: skip
        new._states = [tuple(np.repeat(a, times, axis=0) for a in s) for s in self._states]
        return new

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


def _read_context(model: Model, batch: int, context: Any) -> tuple[Symbol, dict[int, Array]]:
    """The input that is fed, and the values of the others by the id of their symbol."""
    names = [s.node.layer.name for s in model.inputs]
    if context is None:
        context = {}
    elif not isinstance(context, dict):
        several = isinstance(context, (list, tuple)) and len(names) > 2
        context = dict(zip(names[:-1], context if several else [context], strict=False))
    unknown = sorted(set(context) - set(names))
    if unknown or len(context) != len(names) - 1:
        raise ValueError(f"context: expected values of all inputs but the one that is fed, of "
                         f"{names}, got {unknown or list(context)}")  # fmt: skip
    fed = next(s for s, name in zip(model.inputs, names, strict=True) if name not in context)
    given = {}
    for symbol, name in zip(model.inputs, names, strict=True):
        if name in context:
            array = numbers(f"context[{name!r}]", context[name])
            shape = tuple("T" if n is None else n for n in symbol.shape[1:])
            check_shape(f"context[{name!r}]", array, (batch, *shape))
            given[id(symbol)] = array
    return fed, given


def _run_context(model: Model, values: dict[int, Array]
                 ) -> tuple[dict[int, Array], dict[int, Array | None]]:  # fmt: skip
    """Values and masks of all that depends on the context alone."""
    masks: dict[int, Array | None] = dict.fromkeys(values)
    for node in model._nodes:
        if all(id(s) in values for s in node.sources()):
            arrays = [values[id(s)] for s in node.inputs]
            x = arrays[0] if len(arrays) == 1 else arrays
            explicit = None if node.mask is None else values[id(node.mask)]
            mask = input_mask(node.layer, x, [masks[id(s)] for s in node.inputs], explicit)
            y = node.layer.infer(x, mask)
            outputs = y if len(node.outputs) > 1 else [y]
            for symbol, value in zip(node.outputs, outputs, strict=True):
                values[id(symbol)], masks[id(symbol)] = value, None
            masks[id(node.outputs[0])] = node.layer.compute_mask(x, mask)
    return values, masks


def _tokens(infer: Callable[[Array], Array], name: str) -> Callable[[Array], Array]:
    """Of an Embedding with mask_zero: there are no steps of padding in a stream."""

    def look_up(tokens: Array) -> Array:
        if not tokens.all():
            raise ValueError(f"x: expected no 0, which stands for padding in {name}, got one")
        return infer(tokens)

    return look_up


def _reads_on(layer: LSTM) -> bool:
    """Whether it reads forwards, without outputs of whole sequences beside y."""
    return not (layer.go_backwards or layer.return_cells or layer.return_gates)


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
