"""What a model that writes sequences is fed while it learns: teacher forcing, scheduled sampling.

A model that gives the next token is trained on all steps at once: at step t it reads token t - 1 of
the true sequence and is to give token t. `decoding` then lets it write by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import random
from ._arrays import check_shape, integer, integers, real_array, share

Array = np.ndarray


def shift_right(tokens: Any, start: int, *, padding: int = 0) -> Array:
    """What is read before each token: `start`, then all tokens but the last.

    Args:
        tokens: (B, T) integers, T >= 1.
        start: the token that every sequence begins with.
        padding: what stands past the end of a sequence; it is there in the result too. Default 0.

    Returns:
        (B, T) integers of the dtype of `tokens`.

    Raises:
        ValueError, TypeError: naming the argument.
    """
    tokens, start = integers("tokens", tokens), integer("start", start)
    check_shape("tokens", tokens, ("B", "T"))
    padding = integer("padding", padding)
    if start == padding:
        raise ValueError(f"start: expected another token than padding, got {start} for both")
    shifted = np.full_like(tokens, start)
    shifted[:, 1:] = tokens[:, :-1]
    return np.where(tokens == padding, tokens, shifted)


def scheduled_sampling(
    inputs: Any, logits: Any, rate: float, *, padding: int = 0, seed: int | None = None
) -> Array:
    """Inputs of which a share is what the model itself would have written (Bengio et al. 2015).

    The model's tokens are drawn from a run on the true inputs, for all steps at once (Mihaylova &
    Martins 2019): `scheduled_sampling(inputs, model.predict([source, inputs]), rate)`. Let the rate
    rise while the model learns.

    Args:
        inputs: (B, T) integers, as of `shift_right`.
        logits: (B, T, V): at step t, of the token after inputs[:, t].
        rate: share of the inputs that is replaced, 0 .. 1; the first of a row and padding never.
        padding: what stands past the end of a sequence; it is never drawn. Default 0.
        seed: of the draws; default None: they go on from `clstm.set_seed`.

    Returns:
        (B, T) integers of the dtype of `inputs`.

    Raises:
        ValueError, TypeError: naming the argument; ValueError for NaN or infinity in logits.
    """
    inputs, rate, padding = integers("inputs", inputs), share("rate", rate), integer(
        "padding", padding)  # fmt: skip
    check_shape("inputs", inputs, ("B", "T"))
    scores = real_array("logits", logits).astype(np.float64)
    check_shape("logits", scores, (*inputs.shape, "V"))
    if not np.isfinite(scores).all():
        raise ValueError("logits: expected finite numbers, got NaN or infinity")
    generator = random.generator(seed)
    if 0 <= padding < scores.shape[2]:
        scores[:, :, padding] = -np.inf
    # The largest of logit + Gumbel noise is a draw from the softmax (Gumbel 1954).
    drawn = (scores + generator.gumbel(size=scores.shape)).argmax(axis=2)
    replace = (generator.random(inputs.shape) < rate) & (inputs != padding)
    replace[:, :1] = False
    return np.where(replace, np.roll(drawn, 1, axis=1), inputs).astype(inputs.dtype)
