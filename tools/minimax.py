"""Fit the coefficients of csrc/kernels/math.inc and recurrent.inc.

Run by hand: `python tools/minimax.py`.

The fits minimise the largest relative error by Lawson's iteration: weighted least squares whose
weights grow where the error is large.
"""

import numpy as np

NODES = np.cos(np.pi * (np.arange(2000) + 0.5) / 2000)


def exp(exact, degree):
    """q of e^r = 1 + r + r^2 q(r), |r| <= ln(2) / 2: least error relative to `exact`(r).

    r^2 q(r) = e^r - 1 - r is fitted; `exact` is e^r itself, or e^r - 1 for a q that keeps e^r - 1
    accurate near 0.
    """
    r = NODES * np.log(2) / 2
    return fit(r[:, None] ** np.arange(2, degree + 1), np.expm1(r) - r, exact(r))


def atanh(degree):
    """q of atanh(s) = s + s w q(w), w = s^2 <= 1 / 9: least relative error."""
    w = (NODES + 1) / 18
    exact = np.arctanh(np.sqrt(w)) / np.sqrt(w)
    return fit(w[:, None] ** np.arange(1, degree + 1), exact - 1, exact)


def fit(basis, values, scale):
    """The largest error of basis @ q - values relative to `scale`, and the q where it is least."""
    weight = np.ones_like(values)
    best = (np.inf, None)
    for _ in range(200):
        root = np.sqrt(weight) / scale
        q = np.linalg.lstsq(basis * root[:, None], values * root, rcond=None)[0]
        error = np.abs((values - basis @ q) / scale)
        best = min(best, (error.max(), q), key=lambda pair: pair[0])
        weight *= error / error.max() + 1e-3
        weight /= weight.sum()
    return best


if __name__ == "__main__":
    FITS = {"exp": exp(np.exp, 5), "expm1": exp(np.expm1, 6), "atanh": atanh(4)}
    for name, (error, q) in FITS.items():
        print(f"{name}: largest relative error {error:.2e}")
        print("   ", ", ".join(f"{c:.9g}f" for c in q))
