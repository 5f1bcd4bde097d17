"""The functional LSTM against Keras and PyTorch: outputs, final states and every gradient.

The loss is sum(y*dy) + sum(h*dh) + sum(c*dc) with dy = 0 at skipped steps: there Keras repeats the
previous output and PyTorch writes 0 as we do, so outputs are compared at valid steps only.
Inputs are the same numbers in float32, so the same cases check both precisions.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

from clstm import functional as F

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
KERAS = {name: case for name, case in load("keras_lstm.npz").items() if case.kernel is not None}
TORCH = load("torch_lstm.npz")
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 1e-5, "atol": 1e-5}}
both = pytest.mark.parametrize("dtype", TOLERANCE)
backends = pytest.mark.parametrize("backend", ["blas", "numpy"])


def cast(value, dtype):
    return None if value is None else np.ascontiguousarray(value, dtype)


def check_run(dtype, x, weights, state, d, expected, grads, valid=None, **options):
    """Inference, forward and backward agree with `expected` (y, h, c) and `grads` (name: array)."""
    x, *weights = (cast(a, dtype) for a in (x, *weights))
    options["initial_state"] = state if state is None else [cast(s, dtype) for s in state]

    def close(got, want, what):
        np.testing.assert_allclose(got, want, **TOLERANCE[dtype], err_msg=what)

    y, (h, c), tape = F.lstm_forward(x, *weights, **options)
    assert y.dtype == h.dtype == c.dtype == dtype
    if valid is not None:
        assert not y[~valid].any(), "y is 0 at skipped steps"
        y, expected = y[valid], (expected[0][valid], *expected[1:])
    for got, want, what in zip((y, h, c), expected, "yhc", strict=False):
        close(got, want, what)
    y2, (h2, c2) = F.lstm(x, *weights, **options)
    for got, want, what in zip(
        (y2 if valid is None else y2[valid], h2, c2), expected, "yhc", strict=False
    ):
        close(got, want, f"{what} of F.lstm")
    g = F.lstm_backward(tape, *(cast(a, dtype) for a in d))
    for name, want in grads.items():
        got = getattr(g, name)
        if want is None:
            assert name in ("h0", "c0") or got is None, name
        else:
            assert got.dtype == dtype
            close(got, want, f"gradient of {name}")


@both
@backends
@pytest.mark.parametrize("name", KERAS)
def test_keras(name, backend, dtype):
    """go_backwards is our reverse=True, but Keras's y is in the order of computation: flip it."""
    case = KERAS[name]
    args = dict(case.config["args"])
    reverse, sequences = args.pop("go_backwards", False), args.pop("return_sequences", True)
    args.pop("use_bias", None)
    y, dy, dh = case.y, case.dy, case.dh
    if not sequences:  # Keras's y is the last h
        y, dy, dh = None, None, dh + dy
        np.testing.assert_array_equal(case.y, case.h)
    elif reverse:
        y, dy = y[:, ::-1], dy[:, ::-1]
    if y is None:
        B, T, H = len(case.x), case.x.shape[1], case.config["units"]
        dy = np.zeros((B, T, H))
        y = F.lstm(
            case.x,
            case.kernel,
            case.recurrent_kernel,
            case.bias,
            mask=case.mask,
            reverse=reverse,
            backend="numpy",
            **args,
        )[0]  # has no counterpart: only h and c are compared
    grads = {
        n: case.arrays.get(f"g_{n}")
        for n in ("x", "kernel", "recurrent_kernel", "bias", "h0", "c0")
    }
    state = None if case.h0 is None else (case.h0, case.c0)
    check_run(
        dtype,
        case.x,
        (case.kernel, case.recurrent_kernel, case.bias),
        state,
        (dy, dh, case.dc),
        (y, case.h, case.c),
        grads,
        case.mask,
        mask=case.mask,
        reverse=reverse,
        backend=backend,
        **args,
    )


@both
@backends
@pytest.mark.parametrize("direction", ["", "_reverse"], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", TORCH)
def test_torch(name, direction, backend, dtype):
    """PyTorch's weights are ours transposed, gates in our order; its two biases are our one summed.

    The sum's gradient is the gradient of either. Each direction of a bidirectional layer owns half
    of y and one plane of h and c; both directions' gradients with respect to x add up.
    """
    case = TORCH[name]
    if direction and not case.config.get("bidirectional"):
        direction = ""
    k = int(bool(direction))
    units = case.h.shape[2]
    own = slice(k * units, (k + 1) * units)
    w = {n: case.arrays.get(f"{n}_l0{direction}") for n in PARTS}
    g = {n: case.arrays.get(f"g_{n}_l0{direction}") for n in w}
    bias = None if w["bias_ih"] is None else w["bias_ih"] + w["bias_hh"]
    if bias is not None:
        np.testing.assert_allclose(g["bias_ih"], g["bias_hh"], rtol=1e-14, atol=1e-14)
    valid = None if case.lengths is None else np.arange(case.x.shape[1]) < case.lengths[:, None]
    grads = {
        "kernel": g["weight_ih"].T,
        "recurrent_kernel": g["weight_hh"].T,
        "bias": g["bias_ih"],
        "h0": case.g_h0[k],
        "c0": case.g_c0[k],
    }
    if not case.config.get("bidirectional"):
        grads["x"] = case.g_x
    check_run(
        dtype,
        case.x,
        (w["weight_ih"].T, w["weight_hh"].T, bias),
        (case.h0[k], case.c0[k]),
        (case.dy[:, :, own], case.dh[k], case.dc[k]),
        (case.y[:, :, own], case.h[k], case.c[k]),
        grads,
        valid,
        lengths=case.lengths,
        reverse=bool(direction),
        backend=backend,
    )


@backends
@pytest.mark.parametrize("name", [n for n, c in TORCH.items() if c.config.get("bidirectional")])
def test_torch_bidirectional_dx(name, backend):
    """The gradient of x is the sum over the two directions."""
    case, total, units = TORCH[name], 0, TORCH[name].h.shape[2]
    for k, direction in enumerate(["", "_reverse"]):
        w_ih, w_hh, b_ih, b_hh = (case.arrays[f"{n}_l0{direction}"] for n in PARTS)
        _, _, tape = F.lstm_forward(
            case.x,
            w_ih.T.copy(),
            w_hh.T.copy(),
            b_ih + b_hh,
            initial_state=(case.h0[k], case.c0[k]),
            lengths=case.lengths,
            reverse=bool(k),
            backend=backend,
        )
        dy = np.ascontiguousarray(case.dy[:, :, k * units : (k + 1) * units])
        total = total + F.lstm_backward(tape, dy, case.dh[k], case.dc[k]).x
    np.testing.assert_allclose(total, case.g_x, rtol=1e-10, atol=1e-12)
