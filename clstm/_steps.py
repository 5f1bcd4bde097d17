"""Which cells of a ragged batch are computed, and in which order.

A batch of B rows and T positions has some valid positions in every row, any pattern of them. Rows
are visited longest first, so that step s works on the first counts[s] rows and the active block
shrinks; nothing is computed for the other positions. With offset[s] = counts[0] + .. +
counts[s-1], packed row p = offset[s] + r is batch row order[r] at its s-th valid position.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Steps(NamedTuple):
    order: np.ndarray | None  # (B,) batch row of each packed row; None where that changes nothing
    counts: np.ndarray  # (S,) active rows of each step, never increasing
    index: np.ndarray  # (N,) place of each packed row among the B T positions of x, N = sum(counts)
    in_place: bool  # index is 0, 1, 2, ...: x is already packed
    full: bool  # every position is valid


def plan(batch: int, time: int, mask: np.ndarray | None, reverse: bool, time_major: bool) -> Steps:
    """Steps of a (B, T) batch (T, B if time_major) whose valid positions are `mask` (B, T), or all.

    `reverse` visits every row's valid positions from the last to the first.
    """
    row_stride, time_stride = (1, batch) if time_major else (time, 1)
    if mask is None or mask.all():
        positions = np.arange(time - 1, -1, -1) if reverse else np.arange(time)
        index = positions[:, None] * time_stride + np.arange(batch) * row_stride
        in_place = not (reverse and time > 1) and (time_major or batch == 1 or time == 1)
        counts = np.full(time, batch, np.intp)
        return Steps(None, counts, index.ravel(), in_place, True)
    lengths = mask.sum(axis=1)
    order = np.argsort(-lengths, kind="stable")
    row, position = np.nonzero(mask[order])  # by row, then by position
    lengths = lengths[order]
    rank = np.arange(row.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if reverse:
        rank = np.repeat(lengths, lengths) - 1 - rank
    counts = np.bincount(rank)
    packed = (np.cumsum(counts) - counts)[rank] + row
    index = np.empty(row.size, np.intp)
    index[packed] = order[row] * row_stride + position * time_stride
    return Steps(order, counts, index, False, False)
