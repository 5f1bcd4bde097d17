"""The model file: one safetensors file that holds a model whole. Loading it runs no code.

Tensors: "weights/<layer>/<name>" and "optimizer/<slot>". Metadata: "clstm", the architecture and
the state of the training as JSON, and "sha256", a digest of that JSON and of all tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import _serialize, models

FORMAT = 1
Array = np.ndarray


def save(model: Any, path: Any) -> None:
    """Write `model` to `path`: beside it first, then renamed over it."""
    from safetensors.numpy import save as to_bytes

    if not model._is_built():
        raise ValueError("model: expected a built one; fit it or call build(input_shape) first")
    tensors = {f"weights/{key}": value for key, value in _weights(model).items()}
    training = None
    if model._compiled is not None:
        training = {
            "settings": {k: _plain(v) for k, v in model._compiled.items()},
            "optimizer": _serialize.to_config(model.optimizer),
            "iterations": model.optimizer.iterations,
        }
        tensors |= {f"optimizer/{name}": slot for name, slot in model.optimizer.slots.items()}
    header = json.dumps(
        {"format": FORMAT, "model": model.get_config(), "training": training}, sort_keys=True
    )
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    metadata = {"clstm": header, "sha256": _digest(header, tensors)}
    write(path, to_bytes(tensors, metadata=metadata))


def write(path: Any, data: bytes) -> None:
    """Write a file so that `path` is the old one or the new one, whatever happens."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
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

    Raises ValueError if the file is no clstm model, is damaged, or names an unknown layer: your own
    layers must be registered (`clstm.register`) before.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path.name}: expected a clstm model file, got none: {error}") from error
    if not {"clstm", "sha256"} <= metadata.keys():
        raise ValueError(f"{path.name}: expected a clstm model file, got another safetensors file")
    header = metadata["clstm"]
    if _digest(header, tensors) != metadata["sha256"]:
        raise ValueError(f"{path.name}: the file is damaged: its SHA-256 does not match")
    content = json.loads(header)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path.name}: expected format {FORMAT}, written by another clstm")
    model = models.from_config(content["model"])
    weights = _weights(model)
    stored = {n.removeprefix("weights/"): t for n, t in tensors.items() if n.startswith("weights/")}
    if stored.keys() != weights.keys():
        raise ValueError(f"{path.name}: the weights do not fit the architecture")
    for name, value in weights.items():
        if stored[name].shape != value.shape or stored[name].dtype != value.dtype:
            raise ValueError(f"{path.name}: {name}: expected {value.dtype} {value.shape}, got "
                             f"{stored[name].dtype} {stored[name].shape}")  # fmt: skip
        value[...] = stored[name]
    if content.get("training") is not None:
        _restore_training(model, content["training"], tensors, path.name)
    return model


def _restore_training(model: Any, training: Any, tensors: dict[str, Array], name: str) -> None:
    settings = {k: _object(v) for k, v in training["settings"].items()}
    model.compile(_serialize.from_config("optimizer", training["optimizer"]), **settings)
    optimizer = model.optimizer
    optimizer.iterations = int(training["iterations"])
    size = model._parameters.trained
    for slot in optimizer.slot_names if optimizer.iterations else ():
        value = tensors.get(f"optimizer/{slot}")
        if value is None or value.shape != (size,):
            raise ValueError(f"{name}: the optimizer's state does not fit the model")
        optimizer.slots[slot] = value.copy()


def _weights(model: Any) -> dict[str, Array]:
    """All weights by a name that is theirs alone."""
    return {
        f"{layer.name}/{k}/{name}": value
        for layer in model.layers
        for k, part in enumerate(layer.walk())
        for name, value in part.params.items()
    }


def _digest(header: str, tensors: dict[str, Array]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A setting of compile as JSON values."""
    if isinstance(value, _serialize.Configurable):
        return {"kind": value.kind, **_serialize.to_config(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _object(value: Any) -> Any:
    """What `_plain` made plain."""
    if isinstance(value, list):
        return [_object(v) for v in value]
    if isinstance(value, dict):
        if value.keys() == {"kind", "class_name", "config"}:
            return _serialize.from_config(value["kind"], value)
        return {k: _object(v) for k, v in value.items()}
    return value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
