"""Files of tensors and JSON, whole or not at all. Reading one runs no code.

A safetensors file whose metadata are the JSON text of what else there is, under the name of the
kind of file, and "sha256", a digest of that text and of all tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
TEMPORARY = ".clstm-*.tmp"  # what is not yet whole
MODEL, WEIGHTS, CHECKPOINT = "clstm", "clstm-weights", "clstm-checkpoint"  # kinds
FORECASTER, TRANSFORM = "clstm-forecaster", "clstm-transform"
_NAMES = {MODEL: "a clstm model file", WEIGHTS: "a file of weights",
          CHECKPOINT: "a clstm checkpoint", FORECASTER: "a file of a Forecaster",
          TRANSFORM: "a file of a transform"}  # fmt: skip
Array = np.ndarray


def save(path: Any, kind: str, content: dict[str, Any], tensors: dict[str, Array]) -> None:
    """Write a file of that kind; `content` is what JSON can hold."""
    from safetensors.numpy import save as to_bytes

    header = json.dumps({"format": FORMAT, **content}, sort_keys=kind == MODEL)
    tensors = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    metadata = {kind: header, "sha256": digest(header, tensors)}
    write(path, _ordered(to_bytes(tensors, metadata=metadata)))


def load(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """The content and the tensors of a file of that kind whose digest is right.

    Raises:
        FileNotFoundError: there is none; ValueError: it is of another kind, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    expected = _NAMES[kind]
    if not path.exists():
        raise FileNotFoundError(f"path: expected {expected}, got none at {path}")
    if not path.is_file():
        raise ValueError(f"path: expected {expected}, got the folder {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if not {kind, "sha256"} <= metadata.keys():
                raise ValueError(f"{path.name}: expected {expected}, got another safetensors file")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError, MemoryError) as error:
        raise ValueError(f"{path.name}: expected {expected}, got none: {error}") from error
    header = metadata[kind]
    if digest(header, tensors) != metadata["sha256"]:
        raise ValueError(f"{path.name}: the file is damaged: its SHA-256 does not match")
    try:
        content = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: expected JSON that describes it: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path.name}: expected format {FORMAT}, written by another clstm")
    return content, tensors


def write(path: Any, data: bytes) -> None:
    """Write a file so that `path` is the old one or the new one, whatever happens."""
    path = Path(os.path.realpath(path))  # a link stays a link
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in an existing folder, got {path}")
    if path.is_dir():
        raise IsADirectoryError(f"path: expected a file, got the folder {path}")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY.split("*")[0],
                                         suffix=TEMPORARY.split("*")[1])  # fmt: skip
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


def _ordered(data: bytes) -> bytes:
    """A safetensors file with its header's keys in order: one model, one file."""
    (size,) = struct.unpack_from("<Q", data)
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def digest(header: str, tensors: dict[str, Array]) -> str:
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
