"""What a result has to say about where it was made; no names of hosts, users or paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def _from(path: str, field: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith(field)), None)


def available_memory() -> int:
    """Bytes that new processes may take."""
    text = _from("/proc/meminfo", "MemAvailable")
    return 1024 * int(text.split()[0]) if text else 4 << 30


def describe(usable_cores: int) -> dict:
    total = _from("/proc/meminfo", "MemTotal")
    return {
        "cpu": _from("/proc/cpuinfo", "model name") or platform.processor(),
        "cpu_family_model": "/".join(filter(None, (
            _from("/proc/cpuinfo", "cpu family"), _from("/proc/cpuinfo", "model\t")))),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores,
        "memory_gib": round(int(total.split()[0]) / 2**20, 1) if total else None,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "scipy": version("scipy"),
        "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip
