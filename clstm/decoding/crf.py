"""From the log potentials of a linear-chain conditional random field to tags."""

from __future__ import annotations

from typing import Any

from .._arrays import flags
from .._crf import Array, best_tags, best_tags_of, read_potentials


def crf_viterbi(
    potentials: Any, *, lengths: Any = None, mask: Any = None
) -> tuple[Array, Array]:
    """The most probable tags of each row of a linear-chain conditional random field (Viterbi 1967).

    Args:
        potentials: (B, T, K, K), as `functional.crf_loss` takes and `layers.CRF` gives them.
        lengths: (B,) integers in 0 .. T, or
        mask: (B, T) booleans of any pattern: the steps that count; the others may hold anything.

    Returns:
        tags (B, T) integers, -1 at steps that do not count; of paths as probable the one with the
        lowest last tag, then the lowest before it. Their scores (B,) float64, sums of log
        potentials; -infinity where all paths are forbidden.

    Raises:
        ValueError, TypeError: as `functional.crf_loss`; ValueError for NaN or infinity.
    """
    potentials, steps = read_potentials(potentials, lengths)
    if mask is None:
        return best_tags(potentials, steps)
    if lengths is not None:
        raise ValueError("lengths: expected None beside a mask, got both")
    return best_tags_of(potentials, flags("mask", mask, *potentials.shape[:2]))
