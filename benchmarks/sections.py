"""What is measured beside the list of shapes.

Ragged batches, streaming, `fit`, subnormal inputs, odd hidden sizes, memory, import.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

import figures
import numpy as np
import shapes
from measure import Settings, measure
from pool import Pool, WorkerError
from workers.cases import lengths_of

RAGGED = (32, 200, 256, 256)
SHORTEST = 10
STREAM = (1, 1, 128, 128)
MEMORY = (64, 100, 256, 256)
FIT = (3200, 10, 10, 32)  # sequences, T, I, batch size
DENORMALS = (32, 100, 128, 128)
ODD = (32, 100)  # B, T; the layer's input is as wide as its state
EVEN_SIZE, ODD_SIZE = 112, 100  # whole vectors of 16 floats; the size that rivals are asked too
ODD_SIZES = (ODD_SIZE, 97, 113, 127)
IMPORTS = 11  # fresh processes for each package


def _ours(pool: Pool) -> list[str]:
    return [label for label in pool.measured if label.startswith("clstm")]


def _all(pool: Pool, task: str, shape: tuple[int, ...], settings: Settings) -> dict:
    """Every library in its best usual way."""
    case = {"task": task, "shape": list(shape)}
    return measure(pool, {label: (label, case) for label in pool.measured}, settings)


def layer(pool: Pool, shape: tuple[int, ...], mode: str, settings: Settings) -> dict:
    """All libraries on one shape; weights stay the same in "forward", x too."""
    return {"section": "layer", "mode": mode, "shape": list(shape),
            "flops": shapes.flops(shape, mode),
            "libraries": _all(pool, mode, shape, settings)}  # fmt: skip


def ragged(pool: Pool, settings: Settings, shape: tuple[int, ...] = RAGGED) -> dict:
    """The training step with lengths; "/dense" and "/padded" compute every position."""
    dense = {"task": "train", "shape": list(shape)}
    case = {**dense, "lengths": [SHORTEST]}
    entries = {label: (label, case) for label in _ours(pool)}
    entries |= {f"{label}/dense": (label, dense) for label in _ours(pool)
                if label != figures.BASELINE}  # fmt: skip
    entries |= {"torch": ("torch", case), "torch/padded": ("torch", dense)}
    B, T, I, H = shape
    real = int(lengths_of(case).sum())
    return {"section": "ragged", "mode": "train", "shape": list(shape), "shortest": SHORTEST,
            "real_tokens": real, "tokens": B * T,
            "flops": shapes.flops((1, real, I, H), "train"),
            "libraries": measure(pool, entries, settings)}  # fmt: skip


def stream(pool: Pool, settings: Settings, shape: tuple[int, ...] = STREAM) -> dict:
    """One step of one sequence; clstm through F.pack's handle, "/arrays" through F.lstm.

    ONNX Runtime by session.run, "/bound" with inputs and outputs bound once.
    """
    case = {"task": "forward", "shape": list(shape)}
    entries = {label: (label, case) for label in pool.measured}
    entries |= {f"{label}/arrays": (label, {**case, "variant": "arrays"}) for label in _ours(pool)
                if label != figures.BASELINE}  # fmt: skip
    entries["onnxruntime/bound"] = ("onnxruntime", {**case, "variant": "bound"})
    return {"section": "stream", "mode": "forward", "shape": list(shape),
            "libraries": measure(pool, entries, settings)}  # fmt: skip


def fit(pool: Pool, settings: Settings, shape: tuple[int, ...] = FIT) -> dict:
    """One epoch of the reference program, warm. A call is long: a block is one epoch."""
    return {"section": "fit", "mode": "fit", "shape": list(shape), "sequences": shape[0],
            "libraries": _all(pool, "fit", shape, settings)}  # fmt: skip


def denormals(
    pool: Pool, mode: str, settings: Settings, shape: tuple[int, ...] = DENORMALS
) -> dict:
    """Each library with ordinary input, and as "/decay" with one that falls to 1e-40."""
    case = {"task": mode, "shape": list(shape)}
    entries = {label: (label, case) for label in pool.measured}
    entries |= {f"{label}/decay": (label, {**case, "decay": True}) for label in pool.measured}
    return {"section": "denormals", "mode": mode, "shape": list(shape),
            "flops": shapes.flops(shape, mode),
            "libraries": measure(pool, entries, settings)}  # fmt: skip


def odd(pool: Pool, mode: str, settings: Settings, batch: tuple[int, int] = ODD) -> dict:
    """Each library at H = 112 and as "/100" at H = 100; clstm at other odd sizes too."""
    case = lambda size: {"task": mode, "shape": [*batch, size, size]}  # noqa: E731
    entries = {label: (label, case(EVEN_SIZE)) for label in pool.measured}
    for size in ODD_SIZES:
        labels = pool.measured if size == ODD_SIZE else _ours(pool)
        entries |= {f"{label}/{size}": (label, case(size)) for label in labels}
    return {"section": "odd", "mode": mode, "shape": case(EVEN_SIZE)["shape"],
            "flops_at": {str(size): shapes.flops((*batch, size, size), mode)
                         for size in (EVEN_SIZE, *ODD_SIZES)},
            "libraries": measure(pool, entries, settings)}  # fmt: skip


def memory(pool: Pool, repeats: int = 3, shape: tuple[int, ...] = MEMORY) -> dict:
    """Extra resident bytes of a training step, each time in a process of its own."""
    case = {"task": "train", "shape": list(shape)}
    libraries = {}
    for label in pool.measured:
        values = []
        try:
            for _ in range(repeats):
                worker = pool.start(label)
                try:
                    answer = worker.ask("memory", case=case)
                finally:
                    worker.close()
                if answer.get("unsupported"):
                    break
                values.append(answer["bytes"])
        except WorkerError as error:
            libraries[label] = {"error": str(error)}
        if values:
            libraries[label] = {"bytes": statistics.median(values), "repeats": values}
    return {"shape": list(shape), "libraries": libraries}


def _import_seconds(package: str) -> float:
    """In a fresh process, which may keep bytecode: an installed package has it."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    program = (f"import time; start = time.perf_counter(); import {package}; "
               "print(time.perf_counter() - start)")  # fmt: skip
    return float(subprocess.run([sys.executable, "-c", program], check=True, text=True,
                                stdout=subprocess.PIPE, env=environment).stdout)  # fmt: skip


def _installed_bytes(package: Distribution) -> tuple[int, str]:
    """Size of the package's files without its dependencies, and how it was found."""
    files = [Path(file.locate()) for file in package.files or []]
    if sum("clstm" in file.parts and file.suffix == ".py" for file in files) > 5:
        return sum(f.stat().st_size for f in files if f.exists()), "installed files"
    import clstm  # an editable install: what would be installed stands in the source folder

    kept = {".py", ".so", ".pyi", ".pxd", ".typed", ".npz", ".xz", ".gz", ".md"}
    found = [f for f in Path(clstm.__file__).parent.rglob("*") if f.suffix in kept]
    found.append(Path(clstm.__file__).parent / "py.typed")
    return sum(f.stat().st_size for f in set(found) if f.is_file()), "source folder"


def imports(repeats: int = IMPORTS) -> dict:
    """Seconds of `import clstm` and `import numpy` in fresh processes, in turns."""
    times: dict[str, list[float]] = {"numpy": [], "clstm": []}
    for package in times:
        _import_seconds(package)  # the files' first reading
    for _ in range(repeats):
        for package, values in times.items():
            values.append(_import_seconds(package))
    size, source = _installed_bytes(distribution("clstm-cpu"))
    return {
        "seconds": {package: float(np.median(values)) for package, values in times.items()},
        "repeats": times,
        "installed_bytes": size,
        "installed_bytes_of": source,
    }
