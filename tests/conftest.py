"""Tests import the installed clstm: the source folder beside them has no compiled modules, unless
it was built in place, and `python -m pytest` would find it first."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if not any((ROOT / "clstm/_kernels" / f"_dispatch{s}").exists() for s in EXTENSION_SUFFIXES):
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != ROOT]
