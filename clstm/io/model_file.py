"""The model file: one file of tensors that holds a model whole.

Tensors: "weights/<layer>/<part>/<name>" and "optimizer/<slot>/<layer>/<part>/<name>", where part
counts the layers that a layer is made of, 0 being itself, and those of "transforms/<name>/...". The
JSON holds the architecture, the state of the training, and the transforms of data.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np

from .. import _serialize
from ..data import transform
from ..layers.base import Allowance, Layer
from . import architecture, tensor_file

Array = np.ndarray


def save(model: Any, path: Any) -> None:
    """Write `model` to `path`: beside it first, then renamed over it."""
    if not model.built:
        raise ValueError("model: expected a built one; fit it or call build(input_shape) first")
    tensors = {f"weights/{key}": part.params[name] for key, (part, name) in _weights(model).items()}
    training = None
    if model._compiled is not None:
        # What was frozen since compile is frozen in the file: there it has no state.
        frozen = {id(p) for layer in model.layers for p in layer.walk()} - {
            id(p) for layer in model.layers for p in layer.trained()
        }
        training = {
            "settings": {k: _serialize.encode(v, k) for k, v in model._compiled.items()},
            "optimizer": _serialize.to_config(model.optimizer),
            **model.optimizer.get_state(),
        }
        tensors |= {f"optimizer/{key}": value for key, value in _slots(model, frozen).items()}
    transforms = {name: transform.packed(one, f"transforms/{name}", tensors)
                  for name, one in model.transforms.items()}  # fmt: skip
    content = {"model": model.get_config(), "training": training, "transforms": transforms}
    tensor_file.save(path, tensor_file.MODEL, content, tensors)


def save_weights(model: Any, path: Any) -> None:
    """Write the weights alone, in their order."""
    if not model.built:
        raise ValueError("model: expected a built one; fit it or call build(input_shape) first")
    tensors = {f"{k:06d}": weight for k, weight in enumerate(model.weights)}
    tensor_file.save(path, tensor_file.WEIGHTS, {}, tensors)


def load_weights(model: Any, path: Any) -> None:
    """Set the weights that `save_weights` wrote; ValueError, with nothing set, if they differ."""
    _, tensors = tensor_file.load(Path(path), tensor_file.WEIGHTS)
    model.set_weights([tensors[name] for name in sorted(tensors)])


def load_model(path: Any) -> Any:
    """The model that `model.save(path)` wrote, compiled if it was, to predict with or train on.

    Raises:
        ValueError: the file is no clstm model, is damaged, or names an unknown layer: your own
            layers must be registered (`clstm.register`) before.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    content, tensors = tensor_file.load(path, tensor_file.MODEL)
    try:
        with Allowance(sum(tensor.size for tensor in tensors.values())):
            model = architecture.from_config(content.get("model"))
        _fill(model, tensors)
        if content.get("training") is not None:
            _restore_training(model, content["training"], tensors)
        for name, saved in content.get("transforms", {}).items():
            model.transforms[name] = transform.unpacked(saved, tensors)
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path.name}: the file does not hold a model: {error}") from error
    return model


def _fill(model: Any, tensors: dict[str, Array]) -> None:
    """Set the weights."""
    weights = _weights(model)
    stored = {n.removeprefix("weights/"): t for n, t in tensors.items() if n.startswith("weights/")}
    if stored.keys() != weights.keys():
        odd = sorted(stored.keys() ^ weights.keys())[0]
        raise ValueError(f"the weights do not fit the architecture: {odd}")
    for key, (part, name) in weights.items():
        _copy(key, stored[key], part.params[name])


def _copy(key: str, stored: Array, target: Array) -> None:
    if stored.shape != target.shape or stored.dtype != target.dtype:
        raise ValueError(f"{key}: expected {target.dtype} {target.shape}, got "
                         f"{stored.dtype} {stored.shape}")  # fmt: skip
    target[...] = stored


def _restore_training(model: Any, training: Any, tensors: dict[str, Array]) -> None:
    settings = {k: _serialize.decode(v) for k, v in training["settings"].items()}
    optimizer = _serialize.from_config("optimizer", training["optimizer"])
    model.compile(optimizer, **settings)
    optimizer.set_state({k: v for k, v in training.items() if k not in ("settings", "optimizer")})
    stored = {
        n.removeprefix("optimizer/"): t for n, t in tensors.items() if n.startswith("optimizer/")
    }
    if not stored:
        return
    optimizer.start(model._parameters.values[: model._parameters.trained])
    slots = _slots(model)
    for key, value in stored.items():
        if key not in slots:
            raise ValueError(f"the optimizer's state does not fit the model: {key}")
        _copy(key, value, slots[key])


def _weights(model: Any) -> dict[str, tuple[Layer, str]]:
    """All weights, (layer, name), by a key that is theirs alone."""
    found: dict[int, Layer] = {}
    keys: dict[str, tuple[Layer, str]] = {}
    for layer in model.layers:
        for k, part in enumerate(layer.walk()):
            if id(part) not in found:  # else a layer that is also a part of another one
                found[id(part)] = part
                keys |= {f"{layer.name}/{k}/{name}": (part, name) for name in part.params}
    return keys


def _slots(model: Any, frozen: Set[int] = frozenset()) -> dict[str, Array]:
    """The optimizer's state, views, by slot and by the weight that it belongs to."""
    parameters, slots = model._parameters, model.optimizer.slots
    if any(slot.shape != (parameters.trained,) for slot in slots.values()):
        return {}  # of another model, or of this one before it grew: useless for this one
    place = {
        (id(part), name): segment
        for (part, name), segment in zip(parameters.owners, parameters.segments, strict=True)
        if segment[1] <= parameters.trained and id(part) not in frozen
    }
    return {
        f"{slot_name}/{key}": slot[slice(*place[id(part), name])].reshape(part.params[name].shape)
        for slot_name, slot in slots.items()
        for key, (part, name) in _weights(model).items()
        if (id(part), name) in place
    }
