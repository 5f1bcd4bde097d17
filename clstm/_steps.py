"""Which cells of a ragged batch are computed, by which thread and in which order.

The rows of a batch (B, T) are dealt out to groups, one for each thread. Within a group rows are
visited longest first, so that step s works on the group's first counts[s] rows and the active
block shrinks; positions that are not valid (any pattern of them) are not computed.

Packed row p of a run is one (row, position): groups one after the other, in each group steps one
after the other, in each step the rows that are active.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np


class Steps(NamedTuple):
    order: np.ndarray | None  # (B,) batch rows, group after group; None if that is 0, 1, 2, ...
    rows: np.ndarray  # (G + 1,) where each group's rows begin in `order`
    starts: np.ndarray  # (G + 1,) where each group's packed rows begin
    counts: np.ndarray  # (G, S) active rows of each group at each step, never increasing
    offsets: np.ndarray  # (S + 1,) where each step's packed rows begin, if there is one group
    index: np.ndarray  # (N,) place of each packed row among the B T positions of x
    in_place: bool  # index is 0, 1, 2, ...: x is already packed
    full: bool  # every position is valid


def plan(batch: int, time: int, mask: np.ndarray | None, reverse: bool, time_major: bool,
         groups: int = 1) -> Steps:  # fmt: skip
    """Steps of a (B, T) batch, (T, B) if time_major, whose valid positions are `mask` (B, T).

    No mask: all are. `reverse` visits every row's valid positions from the last to the first.
    """
    if mask is None or mask.all():
        if batch * time <= CACHED:
            return _cached_full(batch, time, reverse, time_major, groups)
        return _full(batch, time, reverse, time_major, groups)
    row_stride, time_stride = (1, batch) if time_major else (time, 1)
    longest_first = np.argsort(-mask.sum(axis=1), kind="stable")
    members = [longest_first[g::groups] for g in range(groups)]
    packed = [_pack(mask[m], reverse) for m in members]
    counts = np.zeros((groups, max(len(c) for _, _, c in packed)), np.intp)
    for g, (_, _, c) in enumerate(packed):
        counts[g, : len(c)] = c
    index = [
        m[row] * row_stride + position * time_stride
        for m, (row, position, _) in zip(members, packed, strict=True)
    ]
    return Steps(
        order=np.concatenate(members),
        rows=np.cumsum([0, *map(len, members)]),
        starts=np.cumsum([0, *map(len, index)]),
        counts=counts,
        offsets=np.concatenate([[0], np.cumsum(counts[0])]),
        index=np.concatenate(index),
        in_place=False,
        full=False,
    )


CACHED = 1 << 13  # positions: plans of smaller batches are kept, for small batches come often


def _full(batch: int, time: int, reverse: bool, time_major: bool, groups: int) -> Steps:
    """The plan of a batch whose positions are all valid."""
    row_stride, time_stride = (1, batch) if time_major else (time, 1)
    rows = np.arange(groups + 1) * batch // groups
    places = np.arange(time)[:: -1 if reverse else 1, None] * time_stride
    places = places + np.arange(batch) * row_stride  # (T, B)
    index = np.concatenate([places[:, a:b].ravel() for a, b in itertools.pairwise(rows)])
    return Steps(
        order=None,
        rows=rows,
        starts=rows * time,
        counts=np.repeat(np.diff(rows)[:, None], time, axis=1),
        offsets=np.arange(time + 1) * batch,
        index=index,
        in_place=bool((index == np.arange(index.size)).all()),
        full=True,
    )


_cached_full = functools.lru_cache(maxsize=256)(_full)


def _pack(mask: np.ndarray, reverse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, position) of each packed row, and the counts, of a group's mask, longest row first."""
    lengths = mask.sum(axis=1)
    row, position = np.nonzero(mask)  # by row, then by position
    rank = np.arange(row.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if reverse:
        rank = np.repeat(lengths, lengths) - 1 - rank
    by_step = np.lexsort((row, rank))
    return row[by_step], position[by_step], np.bincount(rank)


def rows(array: np.ndarray, steps: Steps) -> np.ndarray:
    """A copy of `array` (B, ...) with its rows in packed order."""
    return array.copy() if steps.order is None else array[steps.order]


def unrows(array: np.ndarray, steps: Steps, out: np.ndarray | None = None) -> np.ndarray:
    """`array` with its rows back in the batch's order, in `out` if they have to move."""
    if steps.order is None:
        return array
    if out is None:
        out = np.empty_like(array)
    out[steps.order] = array
    return out
