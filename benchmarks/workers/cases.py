"""The numbers that every library computes with: made from the case alone, equal in all processes.

A case is a JSON object:

    task     "forward", "train" (the layer's training step) or "fit" (the reference program)
    shape    [B, T, I, H]; fit: [sequences, T, I, batch size]
    decay    true: the input falls to subnormals and the states with it
    lengths  [shortest] or absent: the rows' lengths are uniform in shortest..T
    variant  which way of the library, where it has several ("" is its best usual one)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

UNITS = (64, 32)  # of the reference program's two LSTMs
DECAYED = 1e-40  # below float32's smallest normal number, 1.2e-38
CLOSED = -3  # the bias of gates that let 0.05 pass: the states forget as fast as the input falls


class Arrays(NamedTuple):
    """Batch-first arrays in clstm's layout, gates i f g o, float32."""

    x: np.ndarray  # (B, T, I)
    kernel: np.ndarray  # (I, 4H)
    recurrent_kernel: np.ndarray  # (H, 4H)
    bias: np.ndarray  # (4H,)
    h0: np.ndarray  # (B, H)
    c0: np.ndarray
    dy: np.ndarray | None  # (B, T, H); training only
    lengths: np.ndarray | None  # (B,)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> np.ndarray:
    return (rng.random(shape, np.float32) * 2 - 1) * np.float32(bound)


def lengths_of(case: dict) -> np.ndarray | None:
    if not case.get("lengths"):
        return None
    B, T = case["shape"][:2]
    return np.random.default_rng(1).integers(case["lengths"][0], T + 1, size=B)


def decay(T: int) -> np.ndarray:
    """(T,): from 1 down to DECAYED in the first half of the steps, where it stays."""
    passed = np.minimum(1, 2 * np.arange(T) / T)
    return (DECAYED**passed).astype(np.float32)


def layer(case: dict) -> Arrays:
    B, T, I, H = case["shape"]
    rng = np.random.default_rng(0)
    bound = H**-0.5
    weights = [_uniform(rng, shape, bound) for shape in ((I, 4 * H), (H, 4 * H), (4 * H,))]
    states = [_uniform(rng, (B, H), 1) for _ in range(2)]
    x = _uniform(rng, (B, T, I), 2)
    dy = _uniform(rng, (B, T, H), 1) if case["task"] == "train" else None
    if case.get("decay"):
        x *= decay(T)[:, None]
        weights[2][: 2 * H] = CLOSED
        weights[2][2 * H :] = 0
    lengths = lengths_of(case)
    if lengths is not None and dy is not None:
        dy[np.arange(T) >= lengths[:, None]] = 0
    return Arrays(x, *weights, *states, dy, lengths)


def program(case: dict) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """x (N, T, I), labels (N, 1) and first weights, in Keras's order, of the reference program."""
    N, T, I = case["shape"][:3]
    rng = np.random.default_rng(0)
    x = _uniform(rng, (N, T, I), 1.5)
    y = (x.sum((1, 2)) > 0).astype(np.float32)[:, None]
    weights, inputs = [], I
    for units in UNITS:
        bound = units**-0.5
        for shape in ((inputs, 4 * units), (units, 4 * units), (4 * units,)):
            weights.append(_uniform(rng, shape, bound))
        inputs = units
    return x, y, [*weights, _uniform(rng, (inputs, 1), inputs**-0.5), np.zeros(1, np.float32)]


def train_outputs(y, x, kernel, recurrent_kernel, bias, h0, c0) -> dict[str, np.ndarray]:
    """The names under which a training step's results are compared: y and six gradients."""
    return {"y": y, "x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias,
            "h0": h0, "c0": c0}  # fmt: skip
