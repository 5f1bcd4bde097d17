"""From the logits of connectionist temporal classification to labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import positive
from .._ctc import Array, read_logits
from .._kernels import _ctc


def ctc_greedy_decode(
    logits: Any, *, logit_lengths: Any = None, blank: int = 0
) -> tuple[Array, Array]:
    """The labels of each row's most probable alignment, repeats and blanks taken out.

    Args:
        logits: (B, T, K), float32 or float64 (anything else becomes float32), T >= 1, K >= 1.
        logit_lengths: (B,) integers in 0 .. T: steps past a row's length may hold anything.
        blank: the class of the blank. Default 0.

    Returns:
        labels (B, L) integers, L the most of any row, -1 past the end of a row; the log
        probabilities (B,) float64 of those alignments under softmax(logits).

    Raises:
        ValueError, TypeError: as `functional.ctc_loss`; ValueError for a step with NaN or infinity
            among its logits, or nothing but -infinity.
    """
    logits, steps, blank = read_logits(logits, logit_lengths, blank)
    labels, scores = _decode(logits, steps, blank, 0, 1)
    return labels[:, 0], scores[:, 0]


def ctc_beam_decode(
    logits: Any, beam_width: int = 100, *, top_paths: int = 1, logit_lengths: Any = None,
    blank: int = 0,
) -> tuple[Array, Array]:  # fmt: skip
    """The most probable labels of each row, by prefix beam search on logarithms.

    A prefix has the sum over its alignments (Graves & Jaitly 2014), as far as these stayed in the
    beam; of prefixes as probable the one that was found first stays.

    Args:
        logits, logit_lengths, blank: as in `ctc_greedy_decode`.
        beam_width: prefixes that are kept at each step, at least 1. Default 100.
        top_paths: how many label sequences, 1 .. beam_width. Default 1.

    Returns:
        labels (B, top_paths, L) integers, most probable first, L the most of any, -1 past the end;
        their log probabilities (B, top_paths) float64, -infinity where there are no more.

    Raises:
        ValueError, TypeError: as `ctc_greedy_decode`; T beam_width must be below 2^31.
    """
    logits, steps, blank = read_logits(logits, logit_lengths, blank)
    width, paths = positive("beam_width", beam_width), positive("top_paths", top_paths)
    if logits.shape[1] * width >= 2**31 - 1 or logits.shape[2] >= 2**31:
        raise ValueError(f"beam_width: expected less than 2^31 / T, got {width}")
    if paths > width:
        raise ValueError(f"top_paths: expected at most beam_width, {width}, got {paths}")
    return _decode(logits, steps, blank, width, paths)


def _decode(logits: Array, steps: Array, blank: int, width: int, paths: int) -> tuple[Array, Array]:
    batch, time, _ = logits.shape
    labels = np.full((batch, paths, time), -1, np.intp)
    counts, scores = np.zeros(batch, np.intp), np.full((batch, paths), -np.inf)
    if batch:
        _ctc.decode(logits, steps, blank, width, labels, counts, scores)
    if counts.min(initial=0) < 0:
        raise ValueError(f"logits: expected finite numbers, or -infinity beside them, got others "
                         f"in row {counts.argmin()}")  # fmt: skip
    longest = (labels >= 0).sum(axis=2).max(initial=0)
    return labels[:, :, :longest].copy(), scores
