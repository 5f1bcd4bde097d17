from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arrays import check_shape, float_array, numbers, positive
from .._pack import Packed
from ..graph import Node, Symbol
from ..layers import (
    LSTM,
    Activation,
    ActivityRegularization,
    Add,
    Attention,
    Concatenate,
    Dense,
    Embedding,
    InputDecay,
    LayerNormalization,
    MultiHeadAttention,
    TiedDense,
    TimeDistributed,
    TrainingNoise,
    _single,
)
from .executor import Executor

if TYPE_CHECKING:
    from .model import Model

Array = np.ndarray
State = tuple[Array, ...]

_ROWS = 16  # of a batch whose LSTMs go the short way
_TABLE = 4  # tokens for each feature, at most, of a table that an LSTM's kernel is multiplied with
_STEPWISE = (Dense, Activation, ActivityRegularization, Embedding, InputDecay, LayerNormalization,
             TiedDense, TimeDistributed, TrainingNoise)  # fmt: skip


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
        self._features = fed.shape[2:]  # of one step of the inputs; () for an Embedding
        self._copies: dict[Any, Any] = {}
        if len(model.outputs) > 1:
            raise ValueError(f"model: expected one output, got {len(model.outputs)}")
        known, values, masks = _run_context(model, given)
        self._plan = fed, [n for n in model._nodes if n not in known], model.outputs[0]
        self._connect(values, masks)
        if not self._initial:
            raise ValueError("model: expected at least one LSTM, got none")
        self._states = self._initial

    def _connect(self, context: dict[int, Array], masks: dict[int, Array | None]) -> None:
        """Make the parts, beside the context: values and masks by the id of their symbol."""
        self._context = context, masks
        self._parts: list[_Part] = []
        self._initial: list[State] = []
        self._values: list[Any] = [None]
        fed, nodes, output = self._plan
        self._slots: dict[int, int] = {id(fed): 0}
        self._tables: dict[int, Node] = {}  # by the id of their output
        for node in nodes:
            if self._is_table(node, nodes, output):
                self._tables[id(node.outputs[0])] = node
            else:
                self._slots[id(node.outputs[0])] = self._add(node)
        if id(output) not in self._slots:
            raise ValueError("model: expected an output that depends on the steps, got one of the "
                             "context alone")  # fmt: skip
        self._output = self._slots[id(output)]

    def _is_table(self, node: Node, nodes: Sequence[Node], output: Symbol) -> bool:
        """Whether it looks up rows that LSTMs alone read, few enough to keep bias + x W of each."""
        layer, rows = node.layer, node.outputs[0]
        readers = [n for n in nodes if rows in n.sources()]
        return (isinstance(layer, Embedding) and rows is not output
                and self.batch_size <= _ROWS and layer.input_dim <= _TABLE * layer.output_dim
                and all(isinstance(n.layer, LSTM) and n.sources().count(rows) == 1
                        and n.inputs[0] is rows and _reads_on(n.layer)
                        and isinstance(self._copy(n.layer, _cells)[0][0], Packed)
                        and self._step_of_table(layer, n.layer) is not None for n in readers)
                )  # fmt: skip

    def _step_of_table(self, table: Embedding, layer: LSTM) -> Callable[..., Any] | None:
        """The function of tokens and a state of the LSTM, its first layer, after the Embedding."""
        key = id(table), id(layer)
        if key not in self._copies:
            step = self._copy(layer, _cells)[0][0].of_table(table.params["embeddings"])
            read = _tokens(self._copy(table, _apart))
            self._copies[key] = step and (lambda tokens, state: step(read(tokens), state))
        return self._copies[key]

    def _add(self, node: Node) -> int:
        """The parts of a node that is fed; the slot of its first output."""
        layer = node.layer
        values, masks = self._context
        known = [values.get(id(s)) for s in node.inputs]
        context = [value is not None for value in known]
        if node.mask is not None or node.resets is not None:
            raise _unfit(layer)
        if isinstance(layer, LSTM) and _reads_on(layer) and not context[0]:
            return self._add_lstm(node, known[1:])
        if (isinstance(layer, (Attention, MultiHeadAttention)) and len(known) > 1
                and not context[0] and all(context[1:])
                and not (layer.return_attention_scores or layer.causal)):  # fmt: skip
            own = self._copy(layer, _apart)
            recall = own.remember(known[1:], [masks[id(s)] for s in node.inputs[1:]])
            return self._part(recall, [self._slot(node.inputs[0])])
        if isinstance(layer, (*_STEPWISE, Add)) or _joins_features(node):
            inputs = []
            for symbol, value in zip(node.inputs, known, strict=True):
                if value is None:
                    inputs.append(self._slot(symbol))
                elif value.ndim == 2:  # beside the last step of a sequence
                    inputs.append(self._new_slot(value[:, None]))
                else:
                    raise _unfit(layer)
            return self._part(self._copy(layer, _stepwise), inputs)
        raise _unfit(layer)

    def _add_lstm(self, node: Node, given: list[Array | None]) -> int:
        """given: the initial states of all layers, or nothing."""
        layer: Any = node.layer
        size = len(layer.state_names) // layer.num_layers
        cells = list(self._copy(layer, _cells))
        table = self._tables.get(id(node.inputs[0]))
        source = self._slot((table or node).inputs[0])
        if table is not None:
            cells[0] = self._copies[id(table.layer), id(layer)], cells[0][1]
        for k, (run, start) in enumerate(cells):
            initial = given[k * size : (k + 1) * size] or [
                np.broadcast_to(a, (self.batch_size, *a.shape[1:])) for a in start
            ]
            source = self._part(run, [source], len(self._initial), layer.residual and k > 0)
            self._initial.append(tuple(np.array(a, order="C") for a in initial))
        return source

    def _copy(self, layer: Any, make: Callable[[Any], Any]) -> Any:
        """What `make` gives of the layer, once for this stream and those that `repeat` gives."""
        if id(layer) not in self._copies:
            self._copies[id(layer)] = make(layer)
        return self._copies[id(layer)]

    def _part(self, run: Callable[..., Any], inputs: list[int], state: int | None = None,
              residual: bool = False) -> int:  # fmt: skip
        slot = self._new_slot(None)
        self._parts.append(_Part(run, inputs, slot, state, residual))
        return slot

    def _new_slot(self, value: Array | None) -> int:
        self._values.append(value)
        return len(self._values) - 1

    def _slot(self, symbol: Symbol) -> int:
        if id(symbol) not in self._slots:
            raise _unfit(symbol.node.layer)
        return self._slots[id(symbol)]

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
        values, masks = self._context
        new = copy.copy(self)
        new.batch_size = self.batch_size * times
        new._connect({k: a.repeat(times, axis=0) for k, a in values.items()},
                     {k: None if a is None else a.repeat(times, axis=0)
                      for k, a in masks.items()})  # fmt: skip
        new._states = [tuple(a.repeat(times, axis=0) for a in state) for state in self._states]
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


def _run_context(model: Model, given: dict[int, Array]
                 ) -> tuple[list[Node], dict[int, Array], dict[int, Array | None]]:  # fmt: skip
    """The nodes that depend on the context alone, and values and masks of all their symbols."""
    inputs = [s for s in model.inputs if id(s) in given]
    symbols, nodes = list(inputs), []
    for node in model._nodes:
        if all(s in symbols for s in node.sources()):
            nodes.append(node)
            symbols += node.outputs
    run = Executor(inputs, nodes, symbols)
    values, masks, _, _ = run.forward([given[id(s)] for s in inputs])
    names = [id(s) for s in symbols]
    return (nodes, dict(zip(names, values, strict=True)), dict(zip(names, masks, strict=True)))


def _cells(layer: LSTM) -> list[tuple[Callable[..., Any], State]]:
    """Of each layer of a stack: its function, and where a row begins that is given no state."""
    return [(_single.handle(one), _single.initial_state(one, 1)) for one in layer.stack]


def _apart(layer: Any) -> Any:
    """A copy of the layer and its weights, without gradients and the rest of its model."""
    memo: dict[int, Any] = {}
    for part in layer.walk():
        memo |= {id(part.home): None, id(part.grads): {}}
    return copy.deepcopy(layer, memo)


def _stepwise(layer: Any) -> Callable[[Any], Array]:
    """The layer's function of values (B, 1, ...), with a copy of its weights."""
    if isinstance(layer, Concatenate):
        return functools.partial(np.concatenate, axis=-1)
    if isinstance(layer, (Dense, TiedDense)):
        return layer.handle()
    own = _apart(layer)
    if not isinstance(layer, Embedding):
        return own.infer  # type: ignore[no-any-return]
    read, table = _tokens(own), own.params["embeddings"]
    return lambda tokens: table.take(read(tokens), axis=0)


def _tokens(table: Embedding) -> Callable[[Any], Array]:
    """The function of tokens to rows of the table, int64, which are not padding."""

    def read(tokens: Any) -> Array:
        rows = table.read(tokens)
        if table.mask_zero and not rows.all():
            raise ValueError(f"x: expected no 0, which stands for padding in {table.name}, got one")
        return rows.astype(np.int64, copy=False)

    return read


def _joins_features(node: Node) -> bool:
    """Whether it concatenates along the last axis."""
    rank = len(node.inputs[0].shape)
    return isinstance(node.layer, Concatenate) and node.layer.axis % rank == rank - 1


def _unfit(layer: Any) -> ValueError:
    return ValueError(f"model: expected layers that read step by step, without masks, got "
                      f"{type(layer).__name__} {layer.name!r}")  # fmt: skip


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
