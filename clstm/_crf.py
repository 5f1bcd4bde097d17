"""Linear-chain conditional random fields as functions on arrays.

Their equations (Lafferty, McCallum & Pereira 2001) stand in csrc/kernels/crf.inc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import check_shape, integers, real_array, step_counts, valid_first
from ._kernels import _crf

Array = np.ndarray


def read_potentials(potentials: Any, lengths: Any) -> tuple[Array, Array]:
    """potentials (B, T, K, K) as float32 or float64, and lengths (B,), checked."""
    potentials = real_array("potentials", potentials)
    check_shape("potentials", potentials, ("B", "T", "K", "K"))
    batch, time, tags, others = potentials.shape
    if time == 0 or tags == 0 or tags != others:
        raise ValueError(f"potentials: expected (B, T, K, K) with a step and a tag, got shape "
                         f"{potentials.shape}")  # fmt: skip
    return potentials, step_counts("lengths", lengths, batch, time)


def read_tags(tags: Any, counted: Array, classes: int) -> Array:
    """tags (B, T) with 0 where they are not counted."""
    tags = integers("tags", tags)
    check_shape("tags", tags, counted.shape)
    wrong = counted & ((tags < 0) | (tags >= classes))
    if wrong.any():
        row, step = np.argwhere(wrong)[0]
        raise ValueError(f"tags: expected 0 .. {classes - 1}, got {tags[row, step]} in row {row} "
                         f"at step {step}")  # fmt: skip
    return np.where(counted, tags, 0).astype(np.intp)


def crf_loss(potentials: Any, tags: Any, *, lengths: Any = None) -> tuple[Array, Array]:
    """Losses of a linear-chain conditional random field, and their gradient.

    The loss of a row is -log p(tags): p of a path of tags is e^score / Z, its score the sum of its
    log potentials, Z the sum of e^score over all K^T paths. Sums are taken in float64.

    Args:
        potentials: (B, T, K, K), float32 or float64 (anything else becomes float32): the log
            potential of tag j at step t after tag i at [b, t, i, j]; of step 0 at [b, 0, 0, j],
            the others are not looked at. -infinity forbids. `layers.CRF` makes them of emissions
            (B, T, K) and transitions (K, K).
        tags: (B, T) integers in 0 .. K - 1; anything past a row's length.
        lengths: (B,) integers in 0 .. T: steps past a row's length may hold anything. A row
            without steps has the loss 0.

    Returns:
        losses (B,) and d_potentials (B, T, K, K), d sum(losses) / d potentials, 0 past a row's
        length; both of the dtype of potentials. NaN or infinity among a row's potentials makes its
        loss and gradient NaN.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received;
            ValueError for tags that are forbidden.
    """
    potentials, steps = read_potentials(potentials, lengths)
    time, classes = potentials.shape[1:3]
    tags = read_tags(tags, np.arange(time) < steps[:, None], classes)
    losses, d = np.zeros(len(potentials)), np.zeros_like(potentials)
    if len(potentials):
        _crf.loss(potentials, tags, steps, losses, d)
    if np.isinf(losses).any():
        row = np.isinf(losses).argmax()
        raise ValueError(f"tags: expected some with a probability above 0, got "
                         f"{tags[row, : steps[row]].tolist()} in row {row}")  # fmt: skip
    _spoil(losses, d, steps)
    return losses.astype(potentials.dtype), d


def crf_marginals(potentials: Any, *, lengths: Any = None) -> tuple[Array, Array]:
    """The probability of each tag at each step, and log Z.

    Args:
        potentials, lengths: as of `crf_loss`.

    Returns:
        marginals (B, T, K), 0 past a row's length, and log Z (B,), of the dtype of potentials; NaN
        in rows with NaN or infinity among the potentials.

    Raises:
        ValueError, TypeError: as `crf_loss`; ValueError for a row in which all paths are forbidden.
    """
    potentials, steps = read_potentials(potentials, lengths)
    log_z, d = np.zeros(len(potentials)), np.zeros_like(potentials)
    if len(potentials):
        _crf.loss(potentials, None, steps, log_z, d)
    if np.isinf(log_z).any():
        raise ValueError(f"potentials: expected a path with a probability above 0, got none in "
                         f"row {np.isinf(log_z).argmax()}")  # fmt: skip
    _spoil(log_z, d, steps)
    return d.sum(axis=2), log_z.astype(potentials.dtype)


def _spoil(values: Array, d: Array, steps: Array) -> None:
    """NaN in the gradients of rows whose value is NaN."""
    for row in np.isnan(values).nonzero()[0]:
        d[row, : steps[row]] = np.nan


def best_tags(potentials: Array, steps: Array) -> tuple[Array, Array]:
    """Tags (B, T), -1 past a row's end, and scores (B,) of the best paths; of read potentials."""
    tags = np.full(potentials.shape[:2], -1, np.intp)
    scores = np.zeros(len(potentials))
    if len(potentials):
        _crf.viterbi(potentials, steps, tags, scores)
    if np.isnan(scores).any():
        raise ValueError(f"potentials: expected numbers below infinity, got others in row "
                         f"{np.isnan(scores).argmax()}")  # fmt: skip
    return tags, scores


def best_tags_of(potentials: Array, keep: Array) -> tuple[Array, Array]:
    """The same where the steps (B, T) that count have any pattern; -1 at the others."""
    order = valid_first(keep)
    tags = np.empty(keep.shape, np.intp)
    tags[order], scores = best_tags(potentials[order], keep.sum(axis=1))
    return tags, scores
