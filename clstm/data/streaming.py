"""Batches of data that does not fit into memory, or that is of many lengths."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import random
from .._arrays import boolean, numbers, positive

Array = np.ndarray


def prefetch(source: Iterable[Any], size: int = 2) -> Iterable[Any]:
    """The items of `source`, of which a thread reads up to `size` ahead.

    What reads files or computes without holding Python's lock then costs no time of its own. An
    error of the source is raised when its item would come. A source that can be read again can be
    read again through this too.

    Args:
        source: a generator of batches, or any iterable. size: at least 1. Default 2.
    """
    if not hasattr(source, "__iter__"):
        raise TypeError(f"source: expected an iterable, got {type(source).__name__}")
    ahead = _Prefetched(source, positive("size", size))
    return iter(ahead) if isinstance(source, Iterator) else ahead


class _Prefetched:
    def __init__(self, source: Iterable[Any], size: int):
        self._source, self._size = source, size

    def __iter__(self) -> Iterator[Any]:
        ready: queue.Queue[tuple[Any, BaseException | None, bool]] = queue.Queue(self._size)
        left = threading.Event()  # nobody waits for items any more

        def put(*entry: Any) -> None:
            while not left.is_set():
                try:
                    return ready.put(entry, timeout=0.05)
                except queue.Full:
                    pass

        def work() -> None:
            items = iter(self._source)
            try:
                for item in items:
                    put(item, None, False)
                    if left.is_set():
                        break
                put(None, None, True)
            except BaseException as error:
                put(None, error, True)
            finally:
                getattr(items, "close", lambda: None)()  # of a generator, what it holds

        thread = threading.Thread(target=work, name="clstm prefetch", daemon=True)
        thread.start()
        try:
            while True:
                item, error, ends = ready.get()
                if error is not None:
                    raise error
                if ends:
                    return
                yield item
        finally:
            left.set()
            thread.join(timeout=1)  # a source that waits for something ends when that has come


class Buckets:
    """Batches of sequences of like lengths: `model.fit(Buckets(sequences, y))`.

    Without padding each batch holds sequences of one length. With it, batches are of neighbours in
    length, filled with zeros to their longest, and come with the lengths, for a model with an input
    `lengths`: ([x, lengths], y).

    Args:
        sequences: list of (T_i, F) or (T_i,) arrays.
        y: (N, ...) labels of the sequences, or a list of (T_i, ...) labels of their steps; None.
        batch_size: sequences of a batch, at most. Default 32.
        pad: whether shorter ones are filled up. Default False.
        shuffle: whether each pass draws an order of the batches, and of sequences as long as each
            other. Default True.
        seed: of the draws; None: they go on from `clstm.set_seed`.

    Raises:
        TypeError, ValueError: an argument is none of these; the sequence is named.
    """

    def __init__(
        self, sequences: Any, y: Any = None, batch_size: int = 32, *, pad: bool = False,
        shuffle: bool = True, seed: int | None = None,
    ):  # fmt: skip
        self._sequences = _arrays("sequences", sequences)
        self._lengths = np.array([len(one) for one in self._sequences])
        if y is not None and len(y) != len(self._sequences):
            raise ValueError(f"y: expected {len(self._sequences)} rows, as many as sequences, got "
                             f"{len(y)}")  # fmt: skip
        self._by_step = isinstance(y, (list, tuple)) and np.ndim(y[0]) > 0
        self._y: Any = _arrays("y", y) if self._by_step else None if y is None else numbers("y", y)
        if self._by_step:
            for k, (labels, length) in enumerate(zip(self._y, self._lengths, strict=True)):
                if len(labels) != length:
                    raise ValueError(f"y[{k}]: expected {length} steps, as many as the sequence "
                                     f"has, got {len(labels)}")  # fmt: skip
        self._size = positive("batch_size", batch_size)
        self._pad, self._shuffle = boolean("pad", pad), boolean("shuffle", shuffle)
        self._generator = None if seed is None else random.generator(seed)

    def __iter__(self) -> Iterator[Any]:
        for places in self._batches():
            x = self._filled(self._sequences, places)
            if self._pad:
                x = [x, self._lengths[places]]
            if self._y is None:
                yield (x,)
            else:
                yield x, self._filled(self._y, places) if self._by_step else self._y[places]

    def __len__(self) -> int:
        """Batches of a pass."""
        if self._pad:
            return -(-len(self._sequences) // self._size)
        _, counts = np.unique(self._lengths, return_counts=True)
        return int((-(-counts // self._size)).sum())

    def _batches(self) -> list[Array]:
        """The places of each batch's sequences."""
        order = np.arange(len(self._sequences))
        if self._shuffle:
            draw = self._generator or random.generator()
            draw.shuffle(order)
        order = order[np.argsort(self._lengths[order], kind="stable")]
        groups = [order]
        if not self._pad:
            changes = np.flatnonzero(np.diff(self._lengths[order])) + 1
            groups = np.split(order, changes)
        found = [group[at : at + self._size] for group in groups
                 for at in range(0, len(group), self._size)]  # fmt: skip
        return [found[k] for k in draw.permutation(len(found))] if self._shuffle else found

    def _filled(self, arrays: list[Array], places: Array) -> Array:
        chosen = [arrays[k] for k in places]
        longest = max(len(one) for one in chosen)
        out = np.zeros((len(chosen), longest, *chosen[0].shape[1:]), np.result_type(*chosen))
        for row, one in zip(out, chosen, strict=True):
            row[: len(one)] = one
        return out


def _arrays(name: str, sequences: Any) -> list[Array]:
    if not isinstance(sequences, (list, tuple)) or not sequences:
        raise TypeError(f"{name}: expected a list of at least one array, got "
                        f"{type(sequences).__name__}")  # fmt: skip
    found = [numbers(f"{name}[{k}]", one) for k, one in enumerate(sequences)]
    for k, one in enumerate(found):
        if one.ndim == 0 or len(one) == 0:
            raise ValueError(f"{name}[{k}]: expected at least one step, got shape {one.shape}")
        if one.shape[1:] != found[0].shape[1:]:
            raise ValueError(f"{name}[{k}]: expected features of shape {found[0].shape[1:]}, as in "
                             f"{name}[0], got {one.shape[1:]}")  # fmt: skip
    return found
