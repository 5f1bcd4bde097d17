"""Truncated backpropagation through time (Williams & Peng 1990): `fit(..., bptt=(k1, k2))`.

A batch of sequences of T steps is trained on in windows of k1 steps, the last one maybe shorter,
with an update of the weights after each: schedules and `iterations` count these. The gradient of a
window goes back through its steps and the k2 - k1 before them. The run begins there, from the
states that the LSTMs had there when the window before was trained on, and only the window's own
steps count in the loss and the metrics. T <= k1 is the ordinary step.

The losses of the windows sum up to the mean over the sequences: each is divided by what that is
divided by, and penalties on weights count by the steps, n / T. So a gradient is about k1 / T of one
whose loss is the window's mean, which matters to an optimizer like SGD, not to one like Adam.

Dropout is drawn anew for each window; the states that are saved inside one, where k2 > k1, are
those of a run without it. After an error the updates of the windows before stay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ._arrays import positive
from .data.batches import Batch
from .graph import Node
from .layers import (
    LSTM,
    Activation,
    ActivityRegularization,
    Add,
    Concatenate,
    Dense,
    Embedding,
    InputDecay,
    LayerNormalization,
    Masking,
    TimeDistributed,
    TrainingNoise,
)
from .layers.base import Layer
from .layers.input import InputLayer
from .loop import Window, train_step
from .objective import Objective

_STEPWISE = (LSTM, Activation, ActivityRegularization, Add, Concatenate, Dense, Embedding,
             InputDecay, LayerNormalization, Masking, TimeDistributed, TrainingNoise)  # fmt: skip


def read(value: Any) -> tuple[int, int]:
    """(k1, k2) of a pair of whole numbers 1 <= k1 <= k2."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"bptt: expected a pair (k1, k2), got {value!r}")
    k1, k2 = (positive(f"bptt[{k}]", steps) for k, steps in enumerate(value))
    if k1 > k2:
        raise ValueError(f"bptt: expected k1 <= k2, got {k1} > {k2}")
    return k1, k2


def step(
    model: Any, pair: tuple[int, int], batch: Batch
) -> Callable[[Any, Batch, Objective], None]:
    """What trains on a batch in windows; ValueError if the model, or this batch, has no steps."""
    _check_layers(model, *pair)
    _time(batch)
    return functools.partial(_train, k1=pair[0], k2=pair[1])


def _train(model: Any, batch: Batch, objective: Objective, k1: int, k2: int) -> None:
    time = _time(batch)
    if time <= k1:
        train_step(model, batch, objective)
        return
    executor, context = model._executor, k2 - k1
    counts = objective.counts(batch.y, executor.output_masks(batch.x))
    with _carried(_lstms(model)) as states:
        for begin in range(0, time, k1):
            end = min(begin + k1, time)
            start, following = max(0, begin - context), max(0, end - context)
            saved = None
            if context and end < time:
                before = states.get()
                if start < following:
                    executor.forward([a[:, start:following] for a in batch.x])
                saved = states.get()
                states.set(before)
            shares = [float(c[begin:end].sum() / max(c.sum(), 1)) for c in counts]
            train_step(model, _part(batch, start, begin, end), objective,
                       Window(begin - start, (end - begin) / time, shares))  # fmt: skip
            if saved is not None:
                states.set(saved)


class _States:
    """(h, c), or None, of each of some LSTMs."""

    def __init__(self, layers: Sequence[LSTM]):
        self._layers = layers

    def get(self) -> list[Any]:
        return [layer.state for layer in self._layers]

    def set(self, states: Sequence[Any]) -> None:
        for layer, state in zip(self._layers, states, strict=True):
            layer.state = state


@contextmanager
def _carried(layers: Sequence[LSTM]) -> Iterator[_States]:
    """Each of these LSTMs goes on from the state that it left; at the end all but the stateful
    ones forget it."""
    for layer in layers:
        layer.carries_state = True
    try:
        yield _States(layers)
    finally:
        for layer in layers:
            layer.carries_state = False
            if not layer.stateful:
                layer.reset_state()


def _part(batch: Batch, start: int, begin: int, end: int) -> Batch:
    """Inputs from `start` on, labels and weights of the steps begin .. end - 1."""
    weight = batch.weight and [
        w if w is None or w.ndim == 1 or w.shape[1] == 1 else w[:, begin:end] for w in batch.weight
    ]
    return Batch([a[:, start:end] for a in batch.x], [a[:, begin:end] for a in batch.y], weight,
                 batch.rows)  # fmt: skip


def _time(batch: Batch) -> int:
    """T, which is the second size of all arrays, but weights of whole rows."""
    time = batch.x[0].shape[1] if batch.x[0].ndim > 1 else None
    weights = [w for w in batch.weight or [] if w is not None and w.ndim > 1 and w.shape[1] != 1]
    for name, arrays in (("x", batch.x), ("y", batch.y), ("sample_weight", weights)):
        for a in arrays:
            if a.ndim < 2 or a.shape[1] != time:
                raise ValueError(f"{name}: expected shape (B, {time or 'T'}, ...), with a time "
                                 f"axis, for bptt, got {a.shape}")  # fmt: skip
    return time


def _lstms(model: Any) -> list[LSTM]:
    return [node.layer for node in model._nodes if isinstance(node.layer, LSTM)]


def _check_layers(model: Any, k1: int, k2: int) -> None:
    """Raise ValueError unless each step of the outputs follows from that step and a state."""
    lstms = _lstms(model)
    for node in model._nodes:
        layer = node.layer
        objection = _objection(node)
        if lstms.count(layer) > 1:
            objection = "used more than once, with one state"
        if layer.activity_regularizer is not None and k2 > k1:
            objection = "an activity_regularizer counts steps once, those before a window too"
        if objection is not None:
            raise ValueError(f"bptt: expected layers that read step by step, got "
                             f"{type(layer).__name__} {layer.name!r}: {objection}")  # fmt: skip
    for layer in model._executor.stateful():
        if layer not in lstms:
            raise ValueError(f"bptt: expected stateful layers in the model itself, got "
                             f"{layer.name!r} inside another layer")  # fmt: skip


def _objection(node: Node) -> str | None:
    """Why a layer cannot be run in windows."""
    layer = node.layer
    if not isinstance(layer, _STEPWISE):
        return "not one of " + ", ".join(kind.__name__ for kind in _STEPWISE)
    if isinstance(layer, LSTM):
        if layer.go_backwards:
            return "go_backwards reads from the end"
        if layer.return_state or len(node.inputs) > 1:
            return "states as inputs or outputs"
    elif type(layer).compute_mask is not Layer.compute_mask and not _is_input(node.inputs[0]):
        return "masks have to come from the model's inputs"
    elif isinstance(layer, Concatenate) and layer.axis % len(node.outputs[0].shape) == 1:
        return "axis is that of time"
    if any(len(symbol.shape) < 3 for symbol in node.outputs):
        return "outputs without a time axis (return_sequences?)"
    mask = node.mask
    if mask is not None and not (_is_input(mask) and len(mask.shape) == 2 and mask.shape[1] != 1):
        return "mask has to be an input (B, T)"
    return None


def _is_input(symbol: Any) -> bool:
    return isinstance(symbol.node.layer, InputLayer)
