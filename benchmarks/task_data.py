"""Random sequences of the classic long-term memory tasks, a batch at a time.

Hochreiter & Schmidhuber 1997 (Neural Computation 9(8)), experiments 2c, 4, 5 and 6; Bai, Kolter &
Koltun 2018 (arXiv:1803.01271), copy memory. Each function returns x, lengths (B,), y for B = `rows`
sequences drawn with `rng`; x is padded with zeros to the longest one.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Batch = tuple[Array, Array, Array]

# Temporal order: the symbols that matter, those that do not, the first and the last one.
X, Y, A, B, C, D, BEGIN, END = range(8)
# 10 steps of the temporal orders 6a and 6b that may hold X or Y, first and last included
PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
DIGITS, BLANK, DELIMITER = 10, 0, 9  # copy memory: digits to keep; 1..8 are the digits


def marked(rng: np.random.Generator, rows: int, T: int, multiply: bool = False) -> Batch:
    """Adding (4) and multiplication (5): x (B, T + T / 10, 2), values and marks; y (B, 1).

    Lengths are uniform in T..T + T / 10. One of the first ten pairs is marked with 1, then one of
    the first T / 2 - 1 that are not marked yet; the first and the last pair have the mark -1. A
    first pair that would be marked keeps its -1, and its value becomes 0. Values are uniform in
    [-1, 1] and the target is 1/2 + (X1 + X2) / 4, or in [0, 1] and it is X1 X2.
    """
    lengths = rng.integers(T, T + T // 10 + 1, rows)
    x = np.zeros((rows, T + T // 10, 2), np.float32)
    every = np.arange(rows)
    first = rng.integers(0, 10, rows)
    second = rng.integers(0, T // 2 - 1, rows)
    second += second >= first
    x[..., 0] = rng.uniform(0 if multiply else -1, 1, x.shape[:2])
    x[np.arange(x.shape[1]) >= lengths[:, None]] = 0
    for place in (first, second):
        x[every[place == 0], 0, 0] = 0
        x[every, place, 1] = 1
    x[every, 0, 1] = x[every, lengths - 1, 1] = -1
    one, two = x[every, first, 0], x[every, second, 0]
    y = one * two if multiply else 0.5 + (one + two) / 4
    return x, lengths, y[:, None]


def temporal_order(rng: np.random.Generator, rows: int, symbols: int) -> Batch:
    """Temporal order with 2 (6a) or 3 (6b) symbols: x (B, 110) symbols, y (B,) classes.

    BEGIN, then A, B, C or D at each step, and END; lengths are uniform in 100..110. X or Y stands
    at one step of each of `PLACES[symbols]`; their order is the class, X = 0 and Y = 1 the binary
    digits of its number.
    """
    lengths = rng.integers(100, 111, rows)
    x = rng.integers(A, D + 1, (rows, 110))
    every = np.arange(rows)
    y = np.zeros(rows, np.int64)
    for low, high in PLACES[symbols]:
        kind = rng.integers(X, Y + 1, rows)
        x[every, rng.integers(low, high + 1, rows)] = kind
        y = 2 * y + kind
    x[:, 0] = BEGIN
    x[every, lengths - 1] = END
    x[np.arange(110) >= lengths[:, None]] = 0
    return x, lengths, y


def long_lag(rng: np.random.Generator, rows: int, q: int, p: int) -> Batch:
    """Long time lag 2c: x (B, longest) symbols, y (B,) classes.

    Symbol p + 2 (begin); p or p + 1, the class; q symbols of 0..p - 1, each as likely, and more of
    them with probability 9/10 each; p + 3 (end), after which the class is asked for.
    """
    more = rng.geometric(0.1, rows) - 1
    lengths = q + 3 + more
    x = rng.integers(0, p, (rows, lengths.max()))
    y = rng.integers(0, 2, rows)
    every = np.arange(rows)
    x[:, 0], x[:, 1] = p + 2, p + y
    x[every, lengths - 1] = p + 3
    x[np.arange(x.shape[1]) >= lengths[:, None]] = 0
    return x, lengths, y


def copy(rng: np.random.Generator, rows: int, T: int) -> Batch:
    """Copy memory: x (B, T + 20) symbols, y (B, T + 20) symbols.

    x: 10 digits of 1..8, T - 1 blanks, and 11 delimiters, of which the first asks for the digits;
    y: T + 10 blanks, and the digits.
    """
    digits = rng.integers(1, 9, (rows, DIGITS))
    x = np.full((rows, T + 20), BLANK)
    x[:, :DIGITS] = digits
    x[:, -DIGITS - 1 :] = DELIMITER
    y = np.full((rows, T + 20), BLANK)
    y[:, -DIGITS:] = digits
    return x, np.full(rows, T + 20), y
