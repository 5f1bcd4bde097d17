"""Threads, backend and instruction set of this process.

The environment sets the start: CLSTM_NUM_THREADS (else OMP_NUM_THREADS, else the cores that this
process may use), CLSTM_BACKEND (auto, native, blas, numpy), CLSTM_ISA (a name that `available_isas`
gives).
"""

from __future__ import annotations

import os
from pathlib import Path

from ._kernels import _dispatch, _parallel

BACKENDS = ("native", "blas", "numpy")
_backend = "auto"


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut to its cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, -(-int(quota) // int(period))))  # "max" is no number: no quota
    except (OSError, ValueError):
        pass
    return cores


def get_num_threads() -> int:
    """Threads that one call may use."""
    return _parallel.get_threads()


def set_num_threads(threads: int) -> None:
    """Let one call use up to `threads` threads (1 .. 1024)."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads: expected an int, got {type(threads).__name__}")
    if not 1 <= threads <= 1024:
        raise ValueError(f"threads: expected 1 .. 1024, got {threads}")
    _parallel.set_threads(threads)


def get_backend() -> str:
    """The backend that functions take when they are not told: auto, native, blas or numpy."""
    return _backend


def set_backend(name: str) -> None:
    """Take backend `name`: native, blas, numpy, or auto for the fastest that can do the work."""
    global _backend
    if name not in ("auto", *BACKENDS):
        raise ValueError(f"backend: expected one of auto, {', '.join(BACKENDS)}, got {name!r}")
    _backend = name


def available_isas() -> list[str]:
    """Instruction sets of the float32 kernels that this CPU can run, best first."""
    return _dispatch.available()


def get_isa() -> str:
    """The instruction set in use."""
    return _dispatch.selected()


def set_isa(name: str) -> None:
    """Use the float32 kernels of instruction set `name`, one of `available_isas()`."""
    if name not in available_isas():
        raise ValueError(f"isa: expected one of {', '.join(available_isas())}, got {name!r}")
    _dispatch.select(name)


def _from_environment() -> None:
    for variable in ("CLSTM_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if not text:
            continue
        if text.isdecimal() and 1 <= int(text) <= 1024:
            set_num_threads(int(text))
            break
        if variable.startswith("CLSTM"):
            raise ValueError(f"{variable}: expected a number 1 .. 1024, got {text!r}")
    else:
        set_num_threads(usable_cores())
    if name := os.environ.get("CLSTM_BACKEND"):
        set_backend(name)
    if name := os.environ.get("CLSTM_ISA"):
        set_isa(name)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine()


def show_config() -> str:
    """A report of versions, CPU, instruction sets, backend, BLAS, OpenMP and threads."""
    import platform
    from importlib.metadata import version

    from . import __version__
    from ._kernels import _blas

    openmp = _parallel.openmp()
    rows = {
        "clstm": __version__,
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "SciPy": version("scipy"),
        "CPU": f"{_cpu_name()}, {os.cpu_count()} cores, {usable_cores()} usable",
        "instruction set": f"{get_isa()} (available: {', '.join(available_isas())})",
        "backend": f"{get_backend()} (available: {', '.join(BACKENDS)})",
        "BLAS": _blas.description(),
        "OpenMP": f"{openmp}" if openmp else "none: the blas backend uses one thread",
        "threads": str(get_num_threads()),
    }
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())


_from_environment()
