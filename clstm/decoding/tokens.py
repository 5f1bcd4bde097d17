"""Sequences of tokens from a model that is fed its own: greedily, by chance, by beam search.

A stream (`model.stream(B)`, of a sequence-to-sequence model with its `context`) reads a token and
gives logits of the next. Each row goes on until it has the token `end`, or `max_length` tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import random
from .._arrays import boolean, check_shape, integer, integers, number, positive
from ..models.stream import Stream

Array = np.ndarray


def greedy_decode(
    stream: Stream, start: Any, max_length: int, *, end: int | None = None,
    from_logits: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    """The most probable next token, again and again.

    Args:
        stream: of B rows, in the state where the first token is to be fed.
        start: the token that is fed first, an integer or (B,); or what the sequences begin with,
            (B, L), L >= 1. It is not part of the result.
        max_length: most tokens of a result, `end` included.
        end: the token after which a row is finished. Default None: all have max_length tokens.
        from_logits: the model gives logits (B, V); False: probabilities. Default True.

    Returns:
        tokens (B, n) integers, n <= max_length the most of any row, -1 after `end`; the log
        probabilities (B,) float64 of these tokens. A row without `end` has max_length tokens.
        The stream has read all tokens but the last; rows that are finished, anything.

    Raises:
        ValueError, TypeError: naming the argument; ValueError if the model gives NaN, infinity, or
            no token with a probability above 0.
    """
    return _follow(stream, start, max_length, end, from_logits, lambda p: p.argmax(axis=1))


def sample_decode(
    stream: Stream, start: Any, max_length: int, *, end: int | None = None,
    temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0,
    seed: int | None = None, from_logits: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    """Tokens drawn by their probabilities p, of which the others are left out.

    Args:
        stream, start, max_length, end, from_logits: as of `greedy_decode`.
        temperature: above 0; p becomes proportional to p^(1 / temperature). Default 1.
        top_k: draw from the k most probable tokens. Default None: from all.
        top_p: draw from the fewest of the most probable tokens that together have a probability of
            top_p or more (Holtzman et al. 2020), in (0, 1]. Default 1: from all.
        seed: of the draws; default None: they go on from `clstm.set_seed`.

    Returns, raises: as `greedy_decode`; the log probabilities are the model's own, as they are
        without temperature, top_k and top_p. Row b's draws depend on the seed and B alone.
    """
    heat = number("temperature", temperature, above=0)
    nucleus = number("top_p", top_p, above=0, most=1)
    most = None if top_k is None else positive("top_k", top_k)
    generator = random.generator(seed)

    def choose(log_p: Array) -> Array:
        if most is not None and most > log_p.shape[1]:
            raise ValueError(f"top_k: expected at most {log_p.shape[1]}, the tokens, got {most}")
        order = np.argsort(-log_p, axis=1, kind="stable")
        scaled = np.take_along_axis(log_p, order, axis=1) / heat
        p = np.exp(scaled - scaled[:, :1])
        if most is not None:
            p[:, most:] = 0
        p /= p.sum(axis=1, keepdims=True)
        p[p.cumsum(axis=1) - p >= nucleus] = 0  # the first has always a probability before of 0
        total = p.cumsum(axis=1)
        drawn = generator.random(len(p))[:, None] * total[:, -1:]
        place = np.minimum((total <= drawn).sum(axis=1), (p > 0).sum(axis=1) - 1)
        return order[np.arange(len(p)), place]

    return _follow(stream, start, max_length, end, from_logits, choose)


def beam_decode(
    stream: Stream, start: Any, max_length: int, *, end: int | None = None, beam_width: int = 4,
    length_penalty: float = 0.6, top_paths: int = 1, from_logits: bool = True,
) -> tuple[Array, Array]:  # fmt: skip
    """The best sequences that a beam of so many finds, by log p / ((5 + n) / 6)^length_penalty.

    n is the number of tokens, `end` included (Wu et al. 2016, eq. 14). Each step keeps the
    beam_width best of all that go on and all that are finished; of equal ones the first.

    Args:
        stream, start, max_length, end, from_logits: as of `greedy_decode`.
        beam_width: at least 1. Default 4.
        length_penalty: 0: the most probable, which are the short ones; more favours long ones.
        top_paths: how many sequences, 1 .. beam_width. Default 1.

    Returns:
        tokens (B, top_paths, n) integers, best first, -1 after `end`, and where there are not so
        many; scores (B, top_paths) float64, as above; -infinity where there are no more.
        The stream is as it was.

    Raises: as `greedy_decode`.
    """
    width, paths = positive("beam_width", beam_width), positive("top_paths", top_paths)
    penalty = number("length_penalty", length_penalty, least=0)
    if paths > width:
        raise ValueError(f"top_paths: expected at most beam_width, {width}, got {paths}")
    batch, start = stream.batch_size, _read_start(stream, start)
    length, end = positive("max_length", max_length), _read_end(end)
    beam = stream.repeat(width)
    log_p = _feed_all(beam, np.repeat(start, width, axis=0), boolean("from_logits", from_logits))
    classes = log_p.shape[1]
    _check_tokens("end", end, classes)
    tokens = np.full((batch, width, length), -1, np.intp)
    total = np.where(np.arange(width) == 0, 0.0, -np.inf)[None].repeat(batch, axis=0)
    lengths, done = np.zeros((batch, width), np.intp), np.zeros((batch, width), bool)
    rows = np.arange(batch)[:, None]
    for step in range(length):
        grown = total[:, :, None] + log_p.reshape(batch, width, classes)
        grown[done] = -np.inf
        grown[..., 0] = np.where(done, total, grown[..., 0])  # what is finished stays, once
        counts = np.where(done, lengths, step + 1)
        scores = (grown / (((5 + counts) / 6) ** penalty)[:, :, None]).reshape(batch, -1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :width]
        parents, new = np.divmod(best, classes)
        total = np.take_along_axis(grown.reshape(batch, -1), best, axis=1)
        tokens, lengths, done = tokens[rows, parents], lengths[rows, parents], done[rows, parents]
        tokens[:, :, step] = np.where(done, -1, new)
        lengths = np.where(done, lengths, step + 1)
        done |= (new == end) if end is not None else False
        if done.all() or step == length - 1:
            break
        beam.reorder((rows * width + parents).ravel())
        log_p = _feed(beam, np.where(done, start[:, -1:], new).ravel(), from_logits)
    scores = total / ((5 + lengths) / 6) ** penalty
    order = np.argsort(-scores, axis=1, kind="stable")[:, :paths]
    scores, tokens = scores[rows, order], tokens[rows, order]
    tokens[scores == -np.inf] = -1
    return tokens[:, :, : (tokens >= 0).sum(axis=2).max(initial=0)].copy(), scores


def _follow(stream: Stream, start: Any, max_length: int, end: int | None, from_logits: bool,
            choose: Callable[[Array], Array]) -> tuple[Array, Array]:  # fmt: skip
    """Feed to each row the token that `choose` takes by the log probabilities (B, V)."""
    start, end = _read_start(stream, start), _read_end(end)
    length = positive("max_length", max_length)
    log_p = _feed_all(stream, start, boolean("from_logits", from_logits))
    _check_tokens("end", end, log_p.shape[1])
    batch = np.arange(len(start))
    tokens = np.full((len(start), length), -1, np.intp)
    total, done = np.zeros(len(start)), np.zeros(len(start), bool)
    for step in range(length):
        new = choose(log_p)
        total += np.where(done, 0, log_p[batch, new])
        tokens[:, step] = np.where(done, -1, new)
        done |= (new == end) if end is not None else False
        if done.all() or step == length - 1:
            break
        log_p = _feed(stream, np.where(done, start[:, -1], new), from_logits)
    return tokens[:, : step + 1].copy(), total


def _read_start(stream: Stream, start: Any) -> Array:
    """Tokens (B, L) to begin with."""
    if not isinstance(stream, Stream):
        raise TypeError(f"stream: expected what model.stream gives, got {type(stream).__name__}")
    tokens = integers("start", start)
    if tokens.ndim < 2:
        tokens = np.broadcast_to(tokens, stream.batch_size) if tokens.ndim == 0 else tokens
        check_shape("start", tokens, (stream.batch_size,))
        tokens = tokens[:, None]
    check_shape("start", tokens, (stream.batch_size, "L"))
    if tokens.shape[1] == 0:
        raise ValueError("start: expected at least one token, got none")
    return tokens


def _read_end(end: Any) -> int | None:
    return None if end is None else integer("end", end)


def _check_tokens(name: str, token: int | None, classes: int) -> None:
    if token is not None and not 0 <= token < classes:
        raise ValueError(f"{name}: expected 0 .. {classes - 1}, a token of the model, got {token}")


def _feed_all(stream: Stream, tokens: Array, from_logits: bool) -> Array:
    for t in range(tokens.shape[1] - 1):
        stream.step(tokens[:, t])
    return _feed(stream, tokens[:, -1], from_logits)


def _feed(stream: Stream, tokens: Array, from_logits: bool) -> Array:
    """Log probabilities (B, V) of the next tokens, float64."""
    y = stream.step(tokens).astype(np.float64)
    if y.ndim != 2:
        raise ValueError(f"stream: expected a model that gives (B, V) for a step, got {y.shape}")
    if from_logits:
        top = y.max(axis=1, keepdims=True)
        y -= top
        log_p = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_p = np.log(y / y.sum(axis=1, keepdims=True))
    if np.isnan(log_p).any():
        raise ValueError(f"stream: expected a model that gives "
                         f"{'logits' if from_logits else 'probabilities'}, got NaN in row "
                         f"{np.isnan(log_p).any(axis=1).argmax()}")  # fmt: skip
    return log_p
