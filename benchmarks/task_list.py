"""The classic tasks: sequences, criteria, published figures, and how clstm is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import task_data as data


class Criterion(NamedTuple):
    """When a task is solved: a condition on the last `window` sequences, as they were predicted.

    A sequence is wrong if one of its outputs has an |error| of `limit` or more. Fewer than `wrong`
    are; and, where `mean` is not None, the mean |error| of all their outputs is below that.
    """

    window: int
    limit: float
    wrong: int = 1
    mean: float | None = None


class Published(NamedTuple):
    """Weights, sequences to the criterion, sequences of 2,560 that were wrong then."""

    weights: int | None = None
    sequences: int | None = None
    wrong: int | None = None


class Settings(NamedTuple):
    """How clstm is trained: Adam with `beta_2`, gradients clipped to a global norm of 1.

    units: H; features: of the embedding of a symbol; batch: B, sequences of an update; rate: the
    first learning rate, which after n sequences is rate / (1 + n / halving), or constant if None;
    times: initial forget biases are log(u) and those of the input gates -log(u), u uniform in
    [1, times - 1] (chrono initialization, Tallec & Ollivier 2018, arXiv:1804.11188). growth: the
    lag T begins at 1 and is multiplied by it each time that the loss, averaged over some 50
    batches, is below 0.15 per digit to recall; n counts from when it is T. None: T at once.
    """

    units: int
    batch: int
    rate: float
    times: int
    features: int | None = None
    halving: int | None = None
    beta_2: float = 0.999
    growth: float | None = None


class Task(NamedTuple):
    """draw: batches from a generator and a number of rows. outputs: 1 number, or as many classes.

    symbols: of how many x is made, None where x has numbers. sequence: an output for every step.
    goals: criteria, each stricter than the one before, and what was published for them.
    """

    title: str
    draw: Callable[[np.random.Generator, int], data.Batch]
    outputs: int
    symbols: int | None
    goals: list[tuple[Criterion, Published]]
    settings: Settings
    sequence: bool = False


LAG = Criterion(10_000, 0.2)
NUMBER = Criterion(2_000, 0.04, mean=0.01)
ORDER = Criterion(2_000, 0.3, mean=0.1)
COPY = Criterion(2_000, 0.5)  # ours: the right symbol has a probability above 1/2 at every step
LAGS = {  # q, p: weights, sequences
    (50, 50): (364, 30_000), (100, 100): (664, 31_000), (200, 200): (1264, 33_000),
    (500, 500): (3064, 38_000), (1000, 1000): (6064, 49_000), (1000, 500): (3064, 49_000),
    (1000, 200): (1264, 75_000), (1000, 100): (664, 135_000), (1000, 50): (364, 203_000),
}  # fmt: skip
ADDING = {100: (74_000, 1), 500: (209_000, 0), 1000: (853_000, 1)}  # T: sequences, wrong of 2,560
COPIES = {T: Settings(128, 16, 5e-3, T, 10, halving=20_000, beta_2=0.95, growth=1.1)
          for T in (100, 1000)}  # fmt: skip

TASKS = {
    **{f"adding-{T}": Task(f"4 adding, T = {T}", partial(data.marked, T=T), 1, None,
                           [(NUMBER, Published(93, sequences, wrong))],
                           Settings(8, 16, 3e-2, T, halving=10_000, beta_2=0.99))
       for T, (sequences, wrong) in ADDING.items()},
    "multiplication-100": Task(
        "5 multiplication, T = 100", partial(data.marked, T=100, multiply=True), 1, None,
        [(Criterion(2_000, 0.04, wrong=140), Published(93, 482_000, 139)),
         (Criterion(2_000, 0.04, wrong=13), Published(93, 1_273_000, 14))],
        Settings(8, 16, 2e-2, 100, halving=20_000, beta_2=0.99)),
    "order-6a": Task("6a temporal order, 2 symbols", partial(data.temporal_order, symbols=2), 4, 8,
                     [(ORDER, Published(156, 31_390, 1))], Settings(8, 16, 1e-2, 100, 8)),
    "order-6b": Task("6b temporal order, 3 symbols", partial(data.temporal_order, symbols=3), 8, 8,
                     [(ORDER, Published(308, 571_100, 2))], Settings(8, 16, 1e-2, 100, 8)),
    **{f"lag-{q}-{p}": Task(f"2c long lag, q = {q}, p = {p}", partial(data.long_lag, q=q, p=p), 2,
                            p + 4, [(LAG, Published(weights, sequences))],
                            Settings(8, 16, 3e-3, q, 4))
       for (q, p), (weights, sequences) in LAGS.items()},
    **{f"copy-{T}": Task(f"copy memory, T = {T}", partial(data.copy, T=T), 10, 10,
                         [(COPY, Published())], settings, sequence=True)
       for T, settings in COPIES.items()},
}  # fmt: skip
