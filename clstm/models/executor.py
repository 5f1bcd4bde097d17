"""Runs a graph of layers over arrays, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import mask_array
from ..graph import Node, Symbol
from ..layers.base import Layer

Array = np.ndarray


class _Step(NamedTuple):
    """One node of the graph: slots number the symbols of the model."""

    layer: Layer
    inputs: list[int]
    mask: int | None  # slot of an explicit mask or lengths
    resets: int | None  # slot of those
    outputs: list[int]
    masked: bool  # inputs or outputs may have a mask
    need_dx: bool  # an input's gradient is of use to somebody
    trains: bool  # a gradient at the outputs is of use to somebody


class Executor:
    """The steps of a model's run, laid out once; the layers' `trainable` is read then.

    inputs, outputs: the model's symbols; nodes: each after those that it needs.
    """

    def __init__(
        self, inputs: Sequence[Symbol], nodes: Sequence[Node], outputs: Sequence[Symbol]
    ):
        symbols = [*inputs, *(s for node in nodes for s in node.outputs)]
        slot = {id(symbol): k for k, symbol in enumerate(symbols)}
        self._blank = [None] * (len(symbols) - len(inputs))
        self._no_masks = [None] * len(symbols)
        moves: set[int] = set()  # slots that depend on a weight in training
        masked: set[int] = set()  # slots that may have a mask
        self._steps: list[_Step] = []
        for node in nodes:
            ins = [slot[id(s)] for s in node.inputs]
            outs = [slot[id(s)] for s in node.outputs]
            need_dx = any(k in moves for k in ins)
            trains = need_dx or any(part.params for part in node.layer.trained())
            if trains:
                moves.update(outs)
            mask = None if node.mask is None else slot[id(node.mask)]
            resets = None if node.resets is None else slot[id(node.resets)]
            in_mask = mask is not None or any(k in masked for k in ins)
            out_mask = node.layer.may_mask(in_mask)
            if out_mask:
                masked.add(outs[0])
            self._steps.append(
                _Step(node.layer, ins, mask, resets, outs, in_mask or out_mask, need_dx, trains)
            )
        self._outputs = [slot[id(s)] for s in outputs]
        self.masked = [k in masked for k in self._outputs]  # whether each output may have a mask
        # Outputs that nobody but the loss reads, their own layer's backward run included.
        makers = {step.outputs[0]: step.layer for step in self._steps}
        read = [k for step in self._steps for k in step.inputs]
        self.free = [getattr(makers.get(k), "forgets_output", False) and k not in read
                     and self._outputs.count(k) == 1 for k in self._outputs]  # fmt: skip
        layers = {id(step.layer): step.layer for step in self._steps}.values()
        trained = {id(part): part for layer in layers for part in layer.trained()}.values()
        self._regularized = [(p, n, r) for p in trained for n, r in p.regularizers.items()]
        self.constrained = [(p, n, c) for p in trained for n, c in p.constraints.items()]

    def forward(
        self, inputs: Sequence[Array], training: bool = False, keep: bool = False
    ) -> tuple[list[Array], list[Array | None], list[Any], float]:
        """Outputs, their masks, the tapes of all steps if `keep`, the activity penalty."""
        values: list[Any] = [*inputs, *self._blank]
        masks: list[Any] = self._no_masks.copy()
        tapes = []
        penalty = 0.0
        for layer, ins, mask_slot, resets, outs, masked, _, _ in self._steps:
            x = values[ins[0]] if len(ins) == 1 else [values[k] for k in ins]
            options = {} if resets is None else {"resets": values[resets]}
            mask = None
            if masked:
                explicit = None if mask_slot is None else values[mask_slot]
                mask = _mask(layer, x, [masks[k] for k in ins], explicit)
                masks[outs[0]] = layer.compute_mask(x, mask)
            if keep:
                y, tape = layer.forward(x, training, mask, **options)
                tapes.append((tape, y if layer.activity_regularizer else None))
            else:
                y = layer.infer(x, mask, **options)
            if layer.activity_regularizer:
                penalty += _activity_penalty(layer, y)
            if len(outs) == 1:
                values[outs[0]] = y
            else:
                for k, value in zip(outs, y, strict=True):
                    values[k] = value
        return [values[k] for k in self._outputs], [masks[k] for k in self._outputs], tapes, penalty

    def output_masks(self, inputs: Sequence[Array]) -> list[Array | None]:
        """The masks that `forward` gives, of a model whose masks its inputs alone decide."""
        values: list[Any] = [*inputs, *[inputs[0]] * len(self._blank)]  # of the right (B, T)
        masks: list[Any] = self._no_masks.copy()
        for layer, ins, mask_slot, _, outs, masked, _, _ in self._steps:
            if masked:
                x = values[ins[0]] if len(ins) == 1 else [values[k] for k in ins]
                explicit = None if mask_slot is None else values[mask_slot]
                mask = _mask(layer, x, [masks[k] for k in ins], explicit)
                masks[outs[0]] = layer.compute_mask(x, mask)
        return [masks[k] for k in self._outputs]

    def backward(self, tapes: Sequence[Any], d_outputs: Sequence[Array | None]) -> None:
        """Add the gradients of all weights, from those of the outputs; uses the tapes up."""
        d: list[Any] = self._no_masks.copy()
        for k, dy in zip(self._outputs, d_outputs, strict=True):
            d[k] = _sum(d[k], dy)
        for step, (tape, y) in zip(reversed(self._steps), reversed(tapes), strict=True):
            layer, ins, outs, need_dx, trains = (step.layer, step.inputs, step.outputs,
                                                 step.need_dx, step.trains)  # fmt: skip
            if not trains:
                continue
            if len(outs) == 1:
                dy = d[outs[0]]
                useful = dy is not None or y is not None
            else:
                dy = [d[k] for k in outs]
                useful = y is not None or any(g is not None for g in dy)
            if not useful:
                continue
            if y is not None:
                dy = _with_activity_gradients(layer, y, dy)
            dx = layer.backward(tape, dy, need_dx)
            if not need_dx:
                continue
            if len(ins) == 1:
                d[ins[0]] = _sum(d[ins[0]], dx)
            else:
                for k, g in zip(ins, dx, strict=True):
                    d[k] = _sum(d[k], g)

    def penalty(self) -> float:
        """The regularizers' part of the loss."""
        return sum(regularizer(part.params[name]) for part, name, regularizer in self._regularized)

    def add_penalty_gradients(self, share: float = 1.0) -> None:
        """Add the regularizers' gradients, times `share`, to the weights'."""
        for part, name, regularizer in self._regularized:
            if share == 1:
                regularizer.add_gradient(part.params[name], part.grads[name])
                continue
            own = np.zeros_like(part.params[name])
            regularizer.add_gradient(part.params[name], own)
            part.grads[name] += share * own

    def constrain(self) -> None:
        """Project the weights that have constraints."""
        for part, name, constraint in self.constrained:
            part.params[name][...] = constraint(part.params[name])

    def stateful(self) -> Iterator[Layer]:
        """Layers that carry a state from batch to batch."""
        for step in self._steps:
            yield from (part for part in step.layer.walk() if getattr(part, "stateful", False))


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a + b


def _listed(y: Any) -> list[Array]:
    return y if isinstance(y, list) else [y]


def _mask(layer: Layer, x: Any, masks: list[Array | None], explicit: Array | None) -> Array | None:
    """The mask of a layer's inputs x, from those of each and the value of a `mask=` symbol."""
    if explicit is not None:
        return _explicit_mask(explicit, x)
    return masks[0] if len(masks) == 1 else layer.join_masks(x, masks)


def _explicit_mask(value: Array, x: Any) -> Array | None:
    """The mask (B, T) of a `mask=` or `lengths=` symbol's value, for inputs x.

    lengths stand in (B,) or (B, 1), masks in (B, T); (B, 1) beside one time step is read as
    lengths too: a length of 0 or 1 is the mask.
    """
    batch, time = (x[0] if isinstance(x, list) else x).shape[:2]
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim == 1:
        if value.dtype.kind == "f" and not (value == np.floor(value)).all():
            raise ValueError("lengths: expected whole numbers, got fractions")
        return mask_array(None, value.astype(np.int64), batch, time)
    return mask_array(value, None, batch, time)


def _activity_penalty(layer: Layer, y: Any) -> float:
    """Of all outputs, by the row: the size of the batch does not matter, as in Keras."""
    return sum(layer.activity_regularizer(a) / max(len(a), 1) for a in _listed(y))


def _with_activity_gradients(layer: Layer, y: Any, dy: Any) -> Any:
    """The gradients dy of one output or several, + d penalty / d y."""
    if isinstance(y, list):
        return [_activity_gradient(layer, a, g) for a, g in zip(y, dy, strict=True)]
    return _activity_gradient(layer, y, dy)


def _activity_gradient(layer: Layer, output: Array, gradient: Array | None) -> Array:
    """gradient + d penalty / d output."""
    own = np.zeros_like(output)
    layer.activity_regularizer.add_gradient(output, own)
    own /= max(len(output), 1)
    return own if gradient is None else own + gradient
