"""Where a training stands, as JSON and tensors, so that another process can go on, bit for bit.

A state is a tree of dicts and lists whose leaves are what JSON has, and arrays. It holds all that
the next steps depend on: weights, the optimizer, the random numbers, the place in the data, running
means of the epoch, states that stateful layers carry, and what callbacks remember.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _serialize, random
from ._state import pack, unpack
from .callbacks import Callback
from .data.batches import Source
from .objective import Objective

Array = np.ndarray
Tensors = dict[str, Array]
_NAMING = ("name", "embedding")  # what names a layer in a configuration


class Run(NamedTuple):
    """A call of `fit`."""

    model: Any
    source: Source
    validation: Source | None
    objective: Objective
    callbacks: Sequence[Callback]
    settings: dict[str, Any]  # arguments of fit that change what a step or an epoch does

    def capture(
        self, signature: dict[str, Any], epoch: int, done: int, logs: dict[str, Any]
    ) -> tuple[dict[str, Any], Tensors]:
        """The state before batch `done` of `epoch`, as JSON values and tensors.

        Raises:
            ValueError: a metric or a callback remembers what is no number, text or array.
        """
        tensors: Tensors = {}
        model, optimizer = self.model, self.model.optimizer
        state = {
            "signature": signature,
            "epoch": epoch,
            "done": done,
            "stopped": bool(model.stop_training),
            "logs": logs,
            "weights": model.weights,
            "optimizer": optimizer.get_state(),
            "slots": optimizer.slots,
            "learning_rate": _rate(optimizer),
            "carried": _carried(model),
            "random": random.get_state(),
            "keys": [keys.calls for keys in model._keys],
            "source": self.source.position,
            "validation": None if self.validation is None else self.validation.position,
            "objective": self.objective.get_state(),
            "callbacks": [[type(c).__name__, c.get_state()] for c in self.callbacks],
        }
        return pack(state, "state", tensors), tensors

    def check(self, signature: dict[str, Any], packed: dict[str, Any]) -> None:
        """Raise ValueError, naming what differs, if the state is of another training."""
        theirs = packed.get("signature")
        if not isinstance(theirs, dict) or theirs.keys() != signature.keys():
            raise ValueError("resume: expected a checkpoint that fit wrote, got another one")
        difference = _difference(signature, theirs, "")
        if difference is not None:
            place, ours, other = difference
            raise ValueError("resume: expected a checkpoint of this training, got one with another "
                             f"{place}: {_short(other)} for {_short(ours)}")  # fmt: skip

    def check_callbacks(self, packed: dict[str, Any]) -> None:
        """Raise ValueError if a callback remembers other attributes than the state has of it."""
        for callback, (name, remembered) in zip(self.callbacks, packed["callbacks"], strict=True):
            ours, theirs = sorted(callback.get_state()), sorted(remembered)
            if ours != theirs:
                raise ValueError(f"resume: expected a checkpoint with {', '.join(ours)} of {name}, "
                                 f"got one with {', '.join(theirs) or 'nothing'}")  # fmt: skip

    def restore(
        self, packed: dict[str, Any], tensors: Tensors
    ) -> tuple[int, int, dict[str, Any]]:
        """Set a state that `check` found to be of this training; its epoch, done and logs."""
        state = unpack(packed, tensors)
        model, optimizer = self.model, self.model.optimizer
        self.source.go_to(state["source"])  # raises where there are too few batches
        if self.validation is not None:
            self.validation.go_to(state["validation"])
        for weight, saved in zip(model.weights, state["weights"], strict=True):
            weight[...] = saved
        optimizer.slots = {name: slot.copy() for name, slot in state["slots"].items()}
        optimizer.set_state(state["optimizer"])
        if state["learning_rate"] is not None:
            optimizer.learning_rate = state["learning_rate"]
        for layer, carried in zip(model._executor.stateful(), state["carried"], strict=True):
            layer.state = carried and tuple(a.copy() for a in carried)
        self.objective.set_state(state["objective"])
        for callback, (_, remembered) in zip(self.callbacks, state["callbacks"], strict=True):
            callback.set_state(remembered)
        model.stop_training = state["stopped"]
        random.set_state(state["random"])
        for keys, calls in zip(model._keys, state["keys"], strict=True):
            keys.calls = calls
        return state["epoch"], state["done"], state["logs"]


def signature(run: Run) -> dict[str, Any]:
    """What two processes must have in common for one to go on with the other's training."""
    model, optimizer, source = run.model, run.model.optimizer, run.source
    parts = [part for layer in model._layers for part in layer.walk()]
    names = {part.name: f"#{k}" for k, part in enumerate(parts)} | {model.name: "#"}
    rows = None if run.validation is None else run.validation.rows
    optimizer_config = _serialize.to_config(optimizer)
    if _rate(optimizer) is not None:
        del optimizer_config["config"]["learning_rate"]  # callbacks may have changed it
    return _plain({
        "model": _renamed(model.get_config(), names),
        "weights": [[str(w.dtype), *w.shape] for w in model.weights],
        "trainable": model._parameters.trained,
        "loss": {k: _renamed(_described(v), names, True) for k, v in model._compiled.items()},
        "optimizer": optimizer_config,
        "data": {"rows": source.rows, "batch_size": getattr(source, "batch_size", None),
                 "steps": source.steps, "validation": run.validation is not None,
                 "validation_rows": rows},
        "fit": run.settings,
        "callbacks": [type(c).__name__ for c in run.callbacks],
    })  # fmt: skip


def _renamed(config: Any, names: dict[str, str], keys: bool = False) -> Any:
    """The configuration with the layers' names, which count up in a process, replaced.

    They stand under `_NAMING`, in lists, and, with `keys`, as the keys of dicts.
    """
    if isinstance(config, dict):
        return {names.get(k, k) if keys else k:
                names.get(v, v) if k in _NAMING and isinstance(v, str) else _renamed(v, names, keys)
                for k, v in config.items()}  # fmt: skip
    if isinstance(config, (list, tuple)):
        return [names.get(v, v) if isinstance(v, str) else _renamed(v, names, keys) for v in config]
    return config


def _described(setting: Any) -> Any:
    try:
        return _serialize.encode(setting, "")
    except (TypeError, ValueError):  # of a class that is not registered: none is made from it
        return type(setting).__name__


def _rate(optimizer: Any) -> float | None:
    rate = optimizer.learning_rate
    return rate if isinstance(rate, float) else None


def _carried(model: Any) -> list[Any]:
    return [None if layer.state is None else list(layer.state)
            for layer in model._executor.stateful()]  # fmt: skip


def _plain(value: Any) -> Any:
    """What comes back when it is written as JSON."""
    return json.loads(json.dumps(value))


def _difference(ours: Any, theirs: Any, place: str) -> tuple[str, Any, Any] | None:
    """The first place where two trees of JSON differ, with what they have there."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = [(k, v, theirs[k]) for k, v in ours.items()]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(str(k), v, other) for k, (v, other) in enumerate(zip(ours, theirs, strict=True))]
    else:
        return None if ours == theirs else (place, ours, theirs)
    found = (_difference(v, other, f"{place}/{k}" if place else k) for k, v, other in pairs)
    return next((difference for difference in found if difference is not None), None)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
