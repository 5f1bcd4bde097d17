"""The shapes (B, T, I, H) that are measured, the work in them, and what a machine can hold."""

from __future__ import annotations

from typing import NamedTuple

SHAPES = [
    (1, 1, 128, 128),
    (1, 100, 128, 128),
    (1, 100, 512, 512),
    (8, 50, 256, 256),
    (32, 100, 128, 128),
    (32, 50, 512, 512),
    (64, 100, 256, 256),
    (128, 50, 1024, 1024),
    (16, 37, 40, 100),
    (3, 20, 7, 65),
]
QUICK = [(1, 1, 128, 128), (8, 10, 32, 64), (3, 20, 7, 65)]

# DeepBench (Baidu, Apache-2.0), rnn_problems.h: (hidden, steps, batches); input size = hidden.
_DEEPBENCH_TRAINING = [
    (512, 25, (16, 32, 64, 128)),
    (1024, 25, (16, 32, 64, 128)),
    (2048, 25, (16, 32, 64, 128)),
    (4096, 25, (16, 32, 64, 128)),
    (1536, 50, (8, 16, 32)),
    (256, 150, (16, 32, 64)),
]
_DEEPBENCH_SERVING = [(hidden, steps, (1, 2, 4)) for hidden, steps in
                      ((512, 25), (1024, 25), (2048, 25), (1536, 50), (256, 150))]  # fmt: skip


class Problem(NamedTuple):
    """One shape, the modes that are measured at it, and the list it comes from."""

    shape: tuple[int, int, int, int]
    modes: tuple[str, ...]
    source: str


def standard(shapes: list[tuple[int, int, int, int]]) -> list[Problem]:
    return [Problem(shape, ("forward", "train"), "clstm") for shape in shapes]


def deepbench() -> list[Problem]:
    """DeepBench's LSTMs: training problems forward and backward, serving problems forward."""
    lists = ((_DEEPBENCH_TRAINING, ("forward", "train")), (_DEEPBENCH_SERVING, ("forward",)))
    return [
        Problem((batch, steps, hidden, hidden), modes, "DeepBench")
        for problems, modes in lists
        for hidden, steps, batches in problems
        for batch in batches
    ]


def parse(text: str) -> tuple[int, int, int, int]:
    """(B, T, I, H) from "BxTxIxH"."""
    shape = tuple(int(part) for part in text.replace(",", "x").split("x"))
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape: expected four positive numbers BxTxIxH, got {text!r}")
    return shape


def flops(shape: tuple[int, ...], mode: str) -> int:
    """2 B T 4H (I + H) forward; backward has two such products for each one of forward."""
    B, T, I, H = shape
    return 2 * B * T * 4 * H * (I + H) * {"forward": 1, "train": 3}[mode]


def bytes_needed(shape: tuple[int, ...], mode: str) -> int:
    """About what one library's process holds: weights thrice (given, packed, gradients or model
    file), x and y and, in training, their gradients, gates, cells and a second set of gates."""
    B, T, I, H = shape
    positions = (2 * I + 3 * H) if mode == "forward" else (3 * I + 15 * H)
    return 4 * (3 * 4 * H * (I + H) + B * T * positions)


def too_much(shape: tuple[int, ...], mode: str, libraries: int, rounds: int, memory: int,
             gflops: float | None, budget: float) -> str | None:  # fmt: skip
    """Why the shape is left out, or None: `memory` bytes are free, a library has `budget` s.

    The time is that of `rounds` calls at the peak: what no library can keep to is not begun.
    """
    need = libraries * bytes_needed(shape, mode)
    if need > memory:
        return f"needs about {need / 2**30:.0f} GiB, {memory / 2**30:.0f} GiB may be used"
    seconds = rounds * flops(shape, mode) / (1e9 * gflops) if gflops else 0.0
    if seconds > budget:
        return (f"{rounds} rounds take {seconds:.3g} s even at the FMA peak, the budget of a "
                f"library is {budget:g} s")  # fmt: skip
    return None
