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
    order: np.ndarray | None  # (R,) rows, group after group; None if that is 0, 1, 2, ...
    rows: np.ndarray  # (G + 1,) where each group's rows begin in `order`
    starts: np.ndarray  # (G + 1,) where each group's packed rows begin
    counts: np.ndarray  # (G, S) active rows of each group at each step, never increasing
    offsets: np.ndarray  # (S + 1,) where each step's packed rows begin, if there is one group
    index: np.ndarray  # (N,) place of each packed row among the B T positions of x
    in_place: bool  # index is 0, 1, 2, ...: x is already packed
    full: bool  # every position is valid
    # with resets a row is what lies between two of them, and knows nothing of the others:
    owner: np.ndarray | None = None  # (R,) the batch row of each
    # and (B,) its place in packed order:
    first: np.ndarray | None = None  # of the one that begins with the batch row's initial state
    last: np.ndarray | None = None  # of the one that ends with its final state


def plan(batch: int, time: int, mask: np.ndarray | None, reverse: bool, time_major: bool,
         groups: int = 1, resets: np.ndarray | None = None) -> Steps:  # fmt: skip
    """Steps of a (B, T) batch, (T, B) if time_major, whose valid positions are `mask` (B, T).

    No mask: all are. `reverse` visits every row's valid positions from the last to the first.
    resets (B, T): where the state becomes 0 before the step.
    """
    if resets is None and (mask is None or mask.all()):
        if batch * time <= CACHED:
            return _cached_full(batch, time, reverse, time_major, groups)
        return _full(batch, time, reverse, time_major, groups)
    if mask is None:
        mask = np.ones((batch, time), bool)
    if resets is None:
        owner = first = last = None
        row, position = np.nonzero(mask)  # by row, then by position
        lengths = mask.sum(axis=1)
    else:
        owner, first, last, row, position = _cut(mask, resets, reverse)
        lengths = np.bincount(row, minlength=len(owner))
    row_stride, time_stride = (1, batch) if time_major else (time, 1)
    place = (row if owner is None else owner[row]) * row_stride + position * time_stride
    longest_first = np.argsort(-lengths, kind="stable")
    slot = np.empty_like(longest_first)
    slot[longest_first] = np.arange(len(slot))
    step = np.arange(row.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if reverse:
        step = np.repeat(lengths, lengths) - 1 - step
    within, group = np.divmod(slot[row], groups)
    members = [longest_first[g::groups] for g in range(groups)]
    order = np.concatenate(members)
    if resets is not None:
        packed = np.empty_like(order)
        packed[order] = np.arange(len(order))
        first, last = packed[first], packed[last]
    longest = int(lengths.max(initial=0))
    counts = np.bincount(group * longest + step, minlength=groups * longest)
    counts = counts.reshape(groups, longest)
    return Steps(
        order=order,
        rows=np.cumsum([0, *map(len, members)]),
        starts=np.concatenate([[0], np.cumsum(counts.sum(axis=1))]),
        counts=counts,
        offsets=np.concatenate([[0], np.cumsum(counts[0])]),
        index=place[np.lexsort((within, step, group))],
        in_place=False,
        full=False,
        owner=owner,
        first=first,
        last=last,
    )


def _cut(mask: np.ndarray, resets: np.ndarray, reverse: bool) -> tuple[np.ndarray, ...]:
    """owner, first, last of `Steps`, and (row, position) of the valid positions, by row."""
    visited = resets[:, ::-1] if reverse else resets
    cuts = np.cumsum(visited, axis=1)  # how many resets came before, or at, each step
    last = np.cumsum(cuts[:, -1] + 1) - 1
    first = last - cuts[:, -1]
    if reverse:
        cuts = cuts[:, ::-1]
    batch_row, position = np.nonzero(mask)
    row = (first[:, None] + cuts)[batch_row, position]
    by_row = np.lexsort((position, row))
    owner = np.repeat(np.arange(len(mask)), last - first + 1)
    return owner, first, last, row[by_row], position[by_row]


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


def chunks(steps: Steps, size: int) -> np.ndarray:
    """The steps at which chunks of `size` packed rows or more begin, and S."""
    offsets, begins = steps.offsets, [0]
    while (step := begins[-1]) < len(offsets) - 1:
        enough = np.searchsorted(offsets, offsets[step] + size)
        begins.append(min(int(enough), len(offsets) - 1))
    return np.array(begins)


def last_places(steps: Steps) -> np.ndarray:
    """The place in x of the last step of each row that has one, in packed order; S >= 1."""
    row = np.arange(steps.counts[0, 0])
    lengths = np.searchsorted(-steps.counts[0], -row, side="left")
    return steps.index[steps.offsets[lengths - 1] + row]


def rows(array: np.ndarray, steps: Steps, at: np.ndarray | None = None) -> np.ndarray:
    """A copy of `array` (B, ...) in packed order; with resets at the places `at`, else 0."""
    if at is not None:
        packed = np.zeros((len(steps.order), *array.shape[1:]), array.dtype)
        packed[at] = array
        return packed
    return array.copy() if steps.order is None else array[steps.order]


def shared_rows(array: np.ndarray, steps: Steps) -> np.ndarray:
    """A copy of `array` (B, ...) in packed order; with resets every row has its owner's."""
    return rows(array if steps.owner is None else array[steps.owner], steps)


def unrows(array: np.ndarray, steps: Steps, out: np.ndarray, at: np.ndarray | None = None
           ) -> np.ndarray:  # fmt: skip
    """`array` back in the batch's order, in `out` if its rows have to move; with resets those at
    the places `at`. Takes no memory."""
    if steps.order is None:
        return array
    if at is None:
        out[steps.order] = array
    else:
        np.take(array, at, axis=0, out=out, mode="clip")  # which needs no buffer
    return out
