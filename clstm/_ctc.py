"""Connectionist temporal classification as functions on arrays.

Its equations (Graves et al. 2006) stand in csrc/kernels/ctc.inc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import check_shape, integer, integers, length_array, real_array, step_counts
from ._kernels import _ctc

Array = np.ndarray


def read_logits(logits: Any, logit_lengths: Any, blank: Any) -> tuple[Array, Array, int]:
    """logits (B, T, K) as float32 or float64, lengths (B,), blank, all checked."""
    logits = real_array("logits", logits)
    check_shape("logits", logits, ("B", "T", "K"))
    batch, time, classes = logits.shape
    if time == 0 or classes == 0:
        raise ValueError(f"logits: expected at least one step and one class, got {logits.shape}")
    if not 0 <= integer("blank", blank) < classes:
        raise ValueError(f"blank: expected 0 .. {classes - 1}, a class of logits, got {blank}")
    return logits, step_counts("logit_lengths", logit_lengths, batch, time), int(blank)


def read_labels(labels: Any, label_lengths: Any, shape: tuple[int, ...],
                blank: int) -> tuple[Array, Array]:  # fmt: skip
    """labels (B, L), L >= 1, with 0 past their lengths (B,), for logits of `shape`."""
    batch, _, classes = shape
    labels = integers("labels", labels)
    check_shape("labels", labels, (batch, "L"))
    if label_lengths is None:
        lengths = np.cumprod(labels != -1, axis=1).sum(axis=1)
        stray = ((labels != -1).sum(axis=1) != lengths).nonzero()[0]
        if stray.size:
            raise ValueError(f"labels: expected -1 only after the last label, got "
                             f"{labels[stray[0]].tolist()} in row {stray[0]}")  # fmt: skip
    else:
        lengths = length_array("label_lengths", label_lengths, batch, labels.shape[1])
    counted = np.arange(labels.shape[1]) < lengths[:, None]
    wrong = counted & ((labels < 0) | (labels >= classes) | (labels == blank))
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise ValueError(f"labels: expected 0 .. {classes - 1} without the blank {blank}, got "
                         f"{labels[row, place]} in row {row}")  # fmt: skip
    kept = np.zeros((batch, max(1, lengths.max(initial=0))), np.intp)
    width = min(kept.shape[1], labels.shape[1])
    np.copyto(kept[:, :width], labels[:, :width], "unsafe", where=counted[:, :width])
    return kept, lengths.astype(np.intp)


def ctc_loss(
    logits: Any, labels: Any, *, logit_lengths: Any = None, label_lengths: Any = None,
    blank: int = 0, zero_infinity: bool = False,
) -> tuple[Array, Array]:  # fmt: skip
    """Losses of connectionist temporal classification (Graves et al. 2006), and their gradient.

    The loss of a row is -log p(labels), p the probability under softmax(logits) of all alignments:
    a class for each step, which without repeats and then without blanks is the labels. Sums are
    taken in float64, on logarithms.

    Args:
        logits: (B, T, K), float32 or float64 (anything else becomes float32), T >= 1, K >= 1.
        labels: (B, L) integers in 0 .. K - 1, not `blank`; -1 past the end of a row. A row without
            labels is valid: all its steps are blanks.
        logit_lengths: (B,) integers in 0 .. T: steps past a row's length may hold anything.
        label_lengths: (B,) integers in 0 .. L instead of -1 in `labels`, which then may hold
            anything past them.
        blank: the class of the blank. Default 0.
        zero_infinity: rows without a possible alignment have the loss and the gradient 0. Default
            False: they are an error.

    Returns:
        losses (B,) and d_logits (B, T, K), d sum(losses) / d logits, 0 past a row's length; both
        of the dtype of logits. A step with NaN or infinity among its logits, or nothing but
        -infinity, makes its row's loss and gradient NaN; -infinity alone is a probability of 0.

    Raises:
        ValueError, TypeError: naming the argument, what was expected and what was received.
    """
    logits, steps, blank = read_logits(logits, logit_lengths, blank)
    labels, lengths = read_labels(labels, label_lengths, logits.shape, blank)
    repeats = (labels[:, 1:] == labels[:, :-1]) & (np.arange(1, labels.shape[1]) < lengths[:, None])
    needed = lengths + repeats.sum(axis=1)
    short = (needed > steps).nonzero()[0]
    if short.size and not zero_infinity:
        row = short[0]
        raise ValueError(f"labels: expected some that fit into the {steps[row]} steps of row {row}"
                         f", got {lengths[row]} that need {needed[row]}")  # fmt: skip
    losses, d_logits = np.zeros(len(logits)), np.zeros_like(logits)
    if len(logits):
        _ctc.loss(logits, labels, steps, lengths, blank, losses, d_logits)
    impossible = np.isinf(losses)
    if impossible.any() and not zero_infinity:
        row = impossible.argmax()
        raise ValueError(f"labels: expected some with a probability above 0, got "
                         f"{labels[row, : lengths[row]].tolist()} in row {row}")  # fmt: skip
    losses[impossible] = 0
    d_logits[impossible] = 0
    for row in np.isnan(losses).nonzero()[0]:
        d_logits[row, : steps[row]] = np.nan
    return losses.astype(logits.dtype), d_logits
