"""Fit the coefficients of csrc/kernels/math.inc (run by hand: `python tools/minimax.py`).

The fits minimise the largest relative error by Lawson's iteration: weighted least squares whose
weights grow where the error is large.
"""

import numpy as np


def fit(exact, degree):
    """q of e^r = 1 + r + r^2 q(r), |r| <= ln(2) / 2: least error relative to `exact`(r).

    r^2 q(r) = e^r - 1 - r is fitted; `exact` is e^r itself, or e^r - 1 for a q that keeps e^r - 1
    accurate near 0.
    """
    r = np.cos(np.pi * (np.arange(2000) + 0.5) / 2000) * np.log(2) / 2
    basis = r[:, None] ** np.arange(2, degree + 1)
    scale = exact(r)
    weight = np.ones_like(r)
    best = (np.inf, None)
    for _ in range(200):
        root = np.sqrt(weight) / scale
        q = np.linalg.lstsq(basis * root[:, None], (np.expm1(r) - r) * root, rcond=None)[0]
        error = np.abs((np.expm1(r) - r - basis @ q) / scale)
        best = min(best, (error.max(), q), key=lambda pair: pair[0])
        weight *= error / error.max() + 1e-3
        weight /= weight.sum()
    return best


if __name__ == "__main__":
    for name, (error, q) in {"exp": fit(np.exp, 5), "expm1": fit(np.expm1, 6)}.items():
        print(f"{name}: largest relative error {error:.2e}")
        print("   ", ", ".join(f"{c:.9g}f" for c in q))
