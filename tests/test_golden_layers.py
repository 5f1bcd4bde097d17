"""Layers against Keras: outputs, and gradients of sum(y*dy), of inputs and of every weight.

At masked steps Keras's LSTM repeats the previous output; its Bidirectional, and all of ours, write
0. The loss leaves those steps out, so valid steps are compared, and all steps of Bidirectional.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

import clstm

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
RECURRENT, OTHER = load("keras_lstm.npz"), load("keras_layers.npz")
LSTM = {n: c for n, c in RECURRENT.items() if c.kernel is not None and c.h0 is None}
STATES = {n: c for n, c in RECURRENT.items() if c.h0 is not None}
BIDIRECTIONAL = {n: c for n, c in RECURRENT.items() if n.startswith("bidirectional")}
BIAS = {n: c for n, c in RECURRENT.items() if n.startswith("initial-bias")}
NAMES = ("kernel", "recurrent_kernel", "bias")
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 1e-5, "atol": 2e-5}}
FLOAT32_CONSTANTS = ("dense-gelu", "dense-leaky_relu")  # of Keras on TensorFlow
both = pytest.mark.parametrize("dtype", TOLERANCE)


def ready(layer, case, weights):
    """The layer, built for the case's inputs, with the given weights."""
    layer.build(case.x.shape)
    layer.set_weights([w.astype(layer.dtype) for w in weights])
    return layer


def lstm_weights(case):
    return [w for w in (case.kernel, case.recurrent_kernel, case.bias) if w is not None]


def cast(value, dtype):
    return value if value is None or value.dtype.kind != "f" else np.ascontiguousarray(value, dtype)


def close(got, want, dtype, what, tolerance=None):
    assert np.asarray(got).dtype == dtype, what
    np.testing.assert_allclose(got, want, **(tolerance or TOLERANCE[dtype]), err_msg=what)


@both
@pytest.mark.parametrize("name", LSTM)
def test_lstm(name, dtype):
    """Without initial state; d_outputs also reaches h and c through return_state."""
    case = LSTM[name]
    args = {"return_sequences": True, **case.config["args"]}
    layer = clstm.LSTM(case.config["units"], return_state=True, dtype=dtype, **args)
    ready(layer, case, lstm_weights(case))
    (y, h, c), tape = layer.forward(cast(case.x, dtype), training=True, mask=case.mask)
    dx = layer.backward(tape, [cast(d, dtype) for d in (case.dy, case.dh, case.dc)])
    want = case.y
    if case.mask is not None and y.ndim == 3:  # go_backwards: y, so its mask too, in reverse
        valid = case.mask[:, ::-1] if args.get("go_backwards") else case.mask
        assert not y[~valid].any()
        y, want = y[valid], want[valid]
    close(y, want, dtype, "y")
    close(h, case.h, dtype, "h")
    close(c, case.c, dtype, "c")
    close(dx, case.g_x, dtype, "gradient of x")
    for key in NAMES:
        if case.arrays.get(key) is not None:
            close(layer.grads[key], case.arrays[f"g_{key}"], dtype, f"gradient of {key}")


@both
@pytest.mark.parametrize("name", STATES)
def test_lstm_called_with_states(name, dtype):
    case = STATES[name]
    args = {"return_sequences": True, "return_state": True, **case.config["args"]}
    layer = clstm.LSTM(case.config["units"], dtype=dtype, **args)
    ready(layer, case, lstm_weights(case))
    state = [cast(a, dtype) for a in (case.h0, case.c0)]
    y, h, c = layer(cast(case.x, dtype), initial_state=state, mask=case.mask)
    if case.mask is None:
        close(y, case.y, dtype, "y")
    close(h, case.h, dtype, "h")
    close(c, case.c, dtype, "c")


@both
@pytest.mark.parametrize("name", BIDIRECTIONAL)
def test_bidirectional(name, dtype):
    case = BIDIRECTIONAL[name]
    config = case.config
    inner = clstm.LSTM(config["units"], return_sequences=config["return_sequences"], dtype=dtype)
    layer = clstm.Bidirectional(inner, merge_mode=config["merge_mode"], dtype=dtype)
    ready(layer, case, case.list("w"))
    y, tape = layer.forward(cast(case.x, dtype), training=True, mask=case.mask)
    d = [cast(d, dtype) for d in case.list("dy")]
    dx = layer.backward(tape, d[0] if config["merge_mode"] else d)
    outputs = [y] if config["merge_mode"] else list(y)
    assert len(outputs) == len(case.list("y"))
    for got, want in zip(outputs, case.list("y"), strict=True):
        close(got, want, dtype, "y")
    close(dx, case.g_x, dtype, "gradient of x")
    got = [part.grads[key] for part in (layer.forward_layer, layer.backward_layer) for key in NAMES]
    for k, (g, want) in enumerate(zip(got, case.list("g_w"), strict=True)):
        close(g, want, dtype, f"gradient of weight {k}")


@pytest.mark.parametrize("name", BIAS)
def test_initial_bias(name):
    case = BIAS[name]
    layer = clstm.LSTM(case.config["units"], **case.config["args"])
    layer.build((1, 1, 2))
    np.testing.assert_array_equal(layer.get_weights()[2], case.bias)


@both
@pytest.mark.parametrize("name", OTHER)
def test_other_layer(name, dtype):
    case = OTHER[name]
    kind, args = case.config["layer"], case.config["args"]
    if kind == "TimeDistributed":
        inner = clstm.Dense(dtype=dtype, **args)
        layer = clstm.TimeDistributed(inner, dtype=dtype)
    else:
        inner = layer = getattr(clstm, kind)(dtype=dtype, **args)
    ready(layer, case, case.list("w"))
    loose = name in FLOAT32_CONSTANTS and dtype == "float64"
    tolerance = {"rtol": 1e-6, "atol": 1e-7} if loose else None
    y, tape = layer.forward(cast(case.x, dtype), training=True)
    dx = layer.backward(tape, cast(case.dy, dtype))
    close(y, case.y, dtype, "y", tolerance)
    if case.g_x is not None:
        close(dx, case.g_x, dtype, "gradient of x", tolerance)
    assert sorted(inner.grads) == sorted(case.config["weights"])
    for key, want in zip(case.config["weights"], case.list("g_w"), strict=True):
        close(inner.grads[key], want, dtype, f"gradient of {key}", tolerance)
