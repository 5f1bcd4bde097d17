"""Tests import the installed clstm: the source folder beside them has no compiled modules, unless
it was built in place, and `python -m pytest` would find it first."""

import signal
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

if not any((ROOT / "clstm/_kernels" / f"_dispatch{s}").exists() for s in EXTENSION_SUFFIXES):
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != ROOT]


@pytest.fixture(autouse=True, scope="session")
def answer_interrupts():
    """A shell starts what runs in the background with SIGINT ignored: no Ctrl-C would come."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def restore():
    """Instruction set and number of threads are afterwards what they were before."""
    from clstm import config  # not before the path above is right

    isa, threads = config.get_isa(), config.get_num_threads()
    yield
    config.set_isa(isa)
    config.set_num_threads(threads)
