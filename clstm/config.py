"""Threads, backend and instruction set of this process.

The environment sets the start: CLSTM_NUM_THREADS (else OMP_NUM_THREADS, else the cores that this
process may use, and in each call no more than the affinity of its thread), CLSTM_BACKEND (auto,
native, blas, numpy), CLSTM_ISA (a name that `available_isas` gives).
"""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

from ._kernels import _dispatch, _parallel

BACKENDS = ("native", "blas", "numpy")
MOST_THREADS = 1024
_backend = "auto"


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut to the quota of its cgroups."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.floor(min(cores, cgroup_quota())))


def cgroup_quota(proc: Path = Path("/proc/self")) -> float:
    """CPU time a second that this process's cgroups, v1 or v2, leave it: cores, or infinity.

    A cgroup has what the least of those around it has. Where the process sees only a part of the
    tree (in a container), the root of that part is the last one to ask.
    """
    least = math.inf
    try:
        groups = [line.split(":", 2) for line in _lines(proc / "cgroup")]
        mounts = _lines(proc / "mountinfo")
    except OSError:
        return least
    for mount in mounts:
        fields, _, system = mount.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2":
            own = [path for _, controllers, path in groups if not controllers]
        elif kind == "cgroup" and "cpu" in options.split(","):
            own = [path for _, controllers, path in groups if "cpu" in controllers.split(",")]
        else:
            continue
        for path in own:
            inside = PurePosixPath(path).is_relative_to(root) and ".." not in path
            below = PurePosixPath(path).relative_to(root) if inside else PurePosixPath()
            for folder in (below, *below.parents):
                least = min(least, _quota(Path(point, folder)))
    return least


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="surrogateescape").splitlines()  # folders may have any name


def _quota(cgroup: Path) -> float:
    """Cores of one cgroup by its own files."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
            if int(quota) > 0:  # v1 without a quota: -1; v2: "max"
                return int(quota) / int(period)
        except (OSError, ValueError):
            continue
    return math.inf


def get_num_threads() -> int:
    """Threads that one call from this thread may use.

    Where threadpoolctl has set a limit for OpenMP it holds here too, whatever was set before.
    """
    return _parallel.get_threads()


def set_num_threads(threads: int) -> None:
    """Let one call use up to `threads` threads (1 .. 1024)."""
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"threads: expected an int, got {type(threads).__name__}")
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads: expected 1 .. {MOST_THREADS}, got {threads}")
    _parallel.set_threads(threads, True)


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
        if text.isdecimal() and 1 <= int(text) <= MOST_THREADS:
            set_num_threads(int(text))
            break
        if variable.startswith("CLSTM"):
            raise ValueError(f"{variable}: expected a number 1 .. {MOST_THREADS}, got {text!r}")
    else:
        _parallel.set_threads(min(usable_cores(), MOST_THREADS), False)
    for variable, use in (("CLSTM_BACKEND", set_backend), ("CLSTM_ISA", set_isa)):
        if name := os.environ.get(variable):
            try:
                use(name)
            except ValueError as error:
                raise ValueError(f"{variable}: {error}") from None


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
        "OpenMP": f"{openmp}" if openmp else "none: threadpoolctl sets no limit",
        "threads": str(get_num_threads()),
    }
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())


_from_environment()
