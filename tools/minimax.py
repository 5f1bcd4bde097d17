"""Fit the coefficients of csrc/kernels/math.inc (run by hand: `python tools/minimax.py`).

Both fits minimise the largest relative error by Lawson's iteration: weighted least squares whose
weights grow where the error is large.
"""

import numpy as np


def fit_exp(degree):
    """q of exp(r) = 1 + r + r^2 q(r), |r| <= ln(2) / 2."""
    r = np.cos(np.pi * (np.arange(2000) + 0.5) / 2000) * np.log(2) / 2
    basis = r[:, None] ** np.arange(2, degree + 1)
    scale = np.exp(r)
    weight = np.ones_like(r)
    best = (np.inf, None)
    for _ in range(200):
        root = np.sqrt(weight) / scale
        q = np.linalg.lstsq(basis * root[:, None], (np.expm1(r) - r) * root, rcond=None)[0]
        error = np.abs((basis @ q + 1 + r) / scale - 1)
        best = min(best, (error.max(), q), key=lambda pair: pair[0])
        weight *= error / error.max() + 1e-3
        weight /= weight.sum()
    return best


def fit_tanh(degree, limit=9.02):
    """p, q of tanh(x) = x (1 + s p(s)) / (1 + s q(s)), s = x^2, |x| <= limit."""
    s = (limit**2) * np.linspace(1e-4, 1, 2000) ** 2
    f = np.tanh(np.sqrt(s)) / np.sqrt(s)
    unit = s / limit**2  # powers of a unit variable keep the least squares well conditioned
    powers = unit[:, None] ** np.arange(1, degree + 1)
    q_value = np.ones_like(s)
    weight = np.ones_like(s)
    best = (np.inf, None, None)
    for _ in range(400):
        root = np.sqrt(weight) / (q_value * f)
        basis = np.hstack([powers, -f[:, None] * powers])
        c = np.linalg.lstsq(basis * root[:, None], (f - 1) * root, rcond=None)[0]
        p_value, q_value = 1 + powers @ c[:degree], 1 + powers @ c[degree:]
        error = np.abs(p_value / q_value / f - 1)
        if error.max() < best[0]:
            shrink = limit ** (2.0 * np.arange(1, degree + 1))
            best = (error.max(), c[:degree] / shrink, c[degree:] / shrink)
        weight *= error / error.max() + 1e-3
        weight /= weight.sum()
    return best


if __name__ == "__main__":
    for name, (error, *coefficients) in {"exp": fit_exp(5), "tanh": fit_tanh(4)}.items():
        print(f"{name}: largest relative error {error:.2e}")
        for c in coefficients:
            print("   ", ", ".join(f"{v:.9g}f" for v in c))
