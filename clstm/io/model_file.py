"""The model file: one safetensors file that holds a model whole. Loading it runs no code.

Tensors: "weights/<layer>/<part>/<name>" and "optimizer/<slot>/<layer>/<part>/<name>", where part
counts the layers that a layer is made of, 0 being itself. Metadata: "clstm", the architecture and
the state of the training as JSON, and "sha256", a digest of that JSON and of all tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np

from .. import _serialize
from ..layers.base import Allowance, Layer
from . import architecture

FORMAT = 1
Array = np.ndarray


def save(model: Any, path: Any) -> None:
    """Write `model` to `path`: beside it first, then renamed over it."""
    from safetensors.numpy import save as to_bytes

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
            "iterations": model.optimizer.iterations,
        }
        tensors |= {f"optimizer/{key}": value for key, value in _slots(model, frozen).items()}
    header = json.dumps(
        {"format": FORMAT, "model": model.get_config(), "training": training}, sort_keys=True
    )
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    metadata = {"clstm": header, "sha256": _digest(header, tensors)}
    write(path, _ordered(to_bytes(tensors, metadata=metadata)))


def _ordered(data: bytes) -> bytes:
    """A safetensors file with its header's keys in order: one model, one file."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def write(path: Any, data: bytes) -> None:
    """Write a file so that `path` is the old one or the new one, whatever happens."""
    path = Path(os.path.realpath(path))  # a link stays a link
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in an existing folder, got {path}")
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got the folder {path}")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".clstm-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is on disk too
    finally:
        os.close(folder)


def load_model(path: Any) -> Any:
    """The model that `model.save(path)` wrote, compiled if it was, to predict with or train on.

    Raises:
        ValueError: the file is no clstm model, is damaged, or names an unknown layer: your own
            layers must be registered (`clstm.register`) before.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    content, tensors = _read(path)
    try:
        with Allowance(sum(tensor.size for tensor in tensors.values())):
            model = architecture.from_config(content.get("model"))
        _fill(model, tensors)
        if content.get("training") is not None:
            _restore_training(model, content["training"], tensors)
    except (ValueError, TypeError, KeyError, AttributeError, MemoryError, OverflowError) as error:
        raise ValueError(f"{path.name}: the file does not hold a model: {error}") from error
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The JSON and the tensors of a model file whose digest is right."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"path: expected a model file, got none at {path}")
    if not path.is_file():
        raise ValueError(f"path: expected a model file, got the folder {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if not {"clstm", "sha256"} <= metadata.keys():
                raise ValueError(
                    f"{path.name}: expected a clstm model file, got another safetensors file"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"{path.name}: expected a clstm model file, got none: {error}") from error
    header = metadata["clstm"]
    if _digest(header, tensors) != metadata["sha256"]:
        raise ValueError(f"{path.name}: the file is damaged: its SHA-256 does not match")
    try:
        content = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: expected JSON that describes a model: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path.name}: expected format {FORMAT}, written by another clstm")
    return content, tensors


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
    iterations = training["iterations"]
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise ValueError(f"iterations: expected an int of at least 0, got {iterations!r}")
    optimizer.iterations = iterations
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


def _digest(header: str, tensors: dict[str, Array]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
