"""Random numbers: one seed, one counter, and the same numbers on any number of threads.

Initial weights and shuffling use `generator()`; every dropout mask is a stream of the Philox kernel
whose key comes from `next_key()`, or from the layer's own `Keys` if it has a seed.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import numpy as np


class Keys:
    """Keys of 64 bits, one after the other, no two the same; `calls` have been given so far.

    The finalizer of splitmix64 (Steele, Lea & Flood 2014) over seed and call number.
    """

    def __init__(self, seed: int, calls: int = 0):
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise TypeError(f"seed: expected an int, got {type(seed).__name__}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed: expected 0 .. 2^64 - 1, got {seed}")
        self.seed, self.calls = int(seed), calls

    def __call__(self) -> int:
        self.calls += 1
        z = (self.seed + self.calls * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)


_keys = Keys(secrets.randbits(64))


def set_seed(seed: int) -> None:
    """Start all random numbers of clstm anew from `seed`, an int in 0 .. 2^64 - 1.

    Layers with a seed of their own go on with theirs.
    """
    global _keys
    _keys = Keys(seed)


def get_state() -> dict[str, int]:
    """The state, for `set_state`: what comes after is then the same again."""
    return {"seed": _keys.seed, "calls": _keys.calls}


def set_state(state: dict[str, int]) -> None:
    """Go on from a state that `get_state` gave; ValueError for anything else."""
    global _keys
    if not isinstance(state, dict) or state.keys() != {"seed", "calls"}:
        raise ValueError(f"state: expected what get_state gave, got {state!r}")
    if not isinstance(state["calls"], int) or state["calls"] < 0:
        raise ValueError(f"state: expected calls of at least 0, got {state['calls']!r}")
    _keys = Keys(state["seed"], state["calls"])


def next_key() -> int:
    """A key of 64 bits that no other call since `set_seed` was given."""
    return _keys()


@contextlib.contextmanager
def apart(seed: int | None) -> Iterator[None]:
    """Within, what is drawn is as after `set_seed(seed)`, and afterwards as if nothing had been
    drawn; None: as everywhere."""
    if seed is None:
        yield
        return
    before = get_state()
    set_seed(seed)
    try:
        yield
    finally:
        set_state(before)


def generator(seed: int | None = None) -> np.random.Generator:
    """A NumPy generator of its own, from `seed` or, if that is None, from `next_key()`."""
    return np.random.Generator(np.random.Philox(next_key() if seed is None else seed))
