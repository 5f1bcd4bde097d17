"""The simple RNN: closed forms, finite differences, native against the specification, and bits."""

import itertools

import numpy as np
import pytest

from clstm import activations, config
from clstm import functional as F

B, T, I, H = 5, 7, 3, 19
NATIVE = any(isa != "scalar" for isa in config.available_isas())
HARD = {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.45}
RUNS = {
    "dense": {},
    "lengths": {"lengths": np.array([0, T, 3, 1, 5])},
    "mask": {"mask": np.random.default_rng(1).random((B, T)) < 0.6},
    "resets": {"mask": np.random.default_rng(2).random((B, T)) < 0.7,
               "resets": np.random.default_rng(3).random((B, T)) < 0.3},
}  # fmt: skip


def problem(dtype=np.float64, batch=B, time=T, features=I, units=H, seed=0):
    """x, kernel, recurrent_kernel, bias and keyword arguments."""
    rng = np.random.default_rng(seed)

    def array(*shape, scale=1.0):
        return (rng.normal(size=shape) * scale).astype(dtype)

    arguments = [array(batch, time, features), array(features, units, scale=0.5),
                 array(units, units, scale=units**-0.5), array(units, scale=0.3)]  # fmt: skip
    return arguments, {"initial_state": (array(batch, units),),
                       "recurrent_mask": array(batch, units) + 1}  # fmt: skip


def run(arguments, keywords, backend=None):
    """Everything that a run gives, by name, and the gradients that went in."""
    rng = np.random.default_rng(9)
    y, (h,), tape = F.rnn_forward(*arguments, backend=backend, **keywords)
    dy, dh = (rng.normal(size=a.shape).astype(a.dtype) for a in (y, h))
    dx, grads, (dh0,) = F.rnn_backward(tape, dy, (dh,))
    return {"y": y.copy(), "h": h, "x": dx, "h0": dh0} | grads, (dy, dh)


def same(one, two):
    return one.keys() == two.keys() and all(one[k].tobytes() == two[k].tobytes() for k in one)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_closed_forms(backend):
    x = np.array([[[1.0], [0.0], [-2.0]]], np.float32)
    one = np.ones((1, 1), np.float32)
    y, (h,) = F.rnn(x, one, 0.5 * one, activation="linear", backend=backend)
    assert y.ravel().tolist() == [1, 0.5, -1.75]  # h_t = x_t + h_{t-1} / 2
    assert h.tolist() == [[-1.75]]
    y, _ = F.rnn(x, one, one, [1.0], activation="relu", backend=backend)
    assert y.ravel().tolist() == [2, 3, 2]
    y, _ = F.rnn(x, one, one, initial_state=([[3.0]],), reverse=True, activation="linear",
                 backend=backend)  # fmt: skip
    assert y.ravel().tolist() == [2, 1, 1]
    y, _, tape = F.rnn_forward(x, one, 0.5 * one, activation="linear", backend=backend)
    dx, grads, (dh0,) = F.rnn_backward(tape, d_state=(one,))  # dh_3/dx_t = 2^(t - 3)
    assert dx.ravel().tolist() == [0.25, 0.5, 1]
    assert dh0.item() == 0.125
    assert grads["kernel"].item() == 0.25 - 2
    assert grads["recurrent_kernel"].item() == 0.5 + 0.5 * 1
    y, _ = F.rnn(x, one, one, backend=backend)
    steps = [np.tanh(1), np.tanh(np.tanh(1)), np.tanh(np.tanh(np.tanh(1)) - 2)]
    np.testing.assert_allclose(y.ravel(), steps, rtol=1e-6)


@pytest.mark.parametrize("activation", ["tanh", HARD, "softplus"])
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("order", [{}, {"reverse": True}])
def test_gradients_are_those_of_finite_differences(activation, name, order):
    arguments, keywords = problem(units=4)
    keywords |= RUNS[name] | order | {"activation": activation}
    got, d = run(arguments, keywords)

    def loss():
        y, (h,) = F.rnn(*arguments, **keywords)
        return (y * d[0]).sum() + (h * d[1]).sum()

    named = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), arguments, strict=True))
    named["h0"] = keywords["initial_state"][0]
    rng = np.random.default_rng(0)
    for key, array in named.items():
        for place in rng.choice(array.size, min(array.size, 12), replace=False):
            at = np.unravel_index(place, array.shape)
            value, step = array[at], 1e-6
            array[at] = value + step
            above = loss()
            array[at] = value - step
            slope = (above - loss()) / (2 * step)
            array[at] = value
            np.testing.assert_allclose(got[key][at], slope, rtol=2e-5, atol=2e-7, err_msg=key)


@pytest.mark.parametrize("name", RUNS)
def test_time_major_is_the_same_run(name):
    arguments, keywords = problem()
    keywords |= RUNS[name]
    wanted, d = run(arguments, keywords)
    y, (h,), tape = F.rnn_forward(arguments[0].swapaxes(0, 1), *arguments[1:], time_major=True,
                                  **keywords)  # fmt: skip
    dx, grads, (dh0,) = F.rnn_backward(tape, d[0].swapaxes(0, 1), (d[1],))
    got = {"y": y.swapaxes(0, 1), "h": h, "x": dx.swapaxes(0, 1), "h0": dh0} | grads
    for key, value in wanted.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)


@pytest.mark.parametrize(
    "activation", ["tanh", "sigmoid", "relu", "softsign", HARD, "linear", "softplus", "softmax"]
)
@pytest.mark.parametrize("name", RUNS)
def test_float32_is_what_the_specification_gives_in_float64(name, activation):
    for units, time_major in ((H, False), (70, True)):
        arguments, keywords = problem(units=units)
        keywords |= RUNS[name] | {"activation": activation}
        single = [a.astype(np.float32) for a in arguments]
        options = keywords | {
            key: value.astype(np.float32) if key == "recurrent_mask" else
            tuple(a.astype(np.float32) for a in value)
            for key, value in keywords.items() if key in ("recurrent_mask", "initial_state")
        }  # fmt: skip
        if time_major:
            arguments[0] = arguments[0].swapaxes(0, 1)
            single[0] = single[0].swapaxes(0, 1)
            keywords["time_major"] = options["time_major"] = True
        wanted, _ = run(arguments, keywords, "numpy")
        got, _ = run(single, options)
        for key, value in wanted.items():
            assert got[key].dtype == np.float32
            scale = max(1, np.abs(value).max())
            np.testing.assert_allclose(got[key], value, rtol=0, atol=2e-5 * scale, err_msg=key)


@pytest.mark.skipif(not NATIVE, reason="no native kernels on this CPU")
@pytest.mark.parametrize("shape", [(1, 9, 5, 1), (3, 7, 65, 17), (40, 30, 33, 100)])
@pytest.mark.parametrize("activation", ["tanh", HARD])
def test_threads_and_instruction_sets_change_no_bit(shape, activation, restore, monkeypatch):
    arguments, keywords = problem(np.float32, *shape)
    rng = np.random.default_rng(4)
    keywords |= {"mask": rng.random(shape[:2]) < 0.8, "resets": rng.random(shape[:2]) < 0.1,
                 "activation": activation}  # fmt: skip
    config.set_num_threads(1)
    wanted, _ = run(arguments, keywords)
    from clstm import _native_backend

    monkeypatch.setattr(_native_backend, "GRAIN", 1)
    monkeypatch.setattr(_native_backend, "STEP_GRAIN", 1)
    for isa, threads, limit in itertools.product(config.available_isas(), (1, 2, 3, 5), (0, 999)):
        if isa == "scalar":
            continue
        config.set_isa(isa)
        config.set_num_threads(threads)
        monkeypatch.setattr(_native_backend, "ROWS_UNITS", limit)
        got, _ = run(arguments, keywords)
        assert same(got, wanted), (isa, threads, limit)


@pytest.mark.skipif(not NATIVE, reason="no native kernels on this CPU")
def test_a_row_is_the_same_alone_and_anywhere_in_a_batch():
    (x, *weights), keywords = problem(np.float32, 37, 9, 21, 40)
    h0 = keywords["initial_state"][0]
    factors = keywords["recurrent_mask"]
    whole, (h,) = F.rnn(x, *weights, initial_state=(h0,), recurrent_mask=factors)
    rng = np.random.default_rng(3)
    for size in (1, 2, 5, 36):
        rows = rng.permutation(37)[:size]
        y, (some,) = F.rnn(x[rows], *weights, initial_state=(h0[rows],),
                           recurrent_mask=factors[rows])  # fmt: skip
        assert y.tobytes() == whole[rows].tobytes()
        assert some.tobytes() == h[rows].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_may_be_nan(dtype):
    arguments, keywords = problem(dtype)
    lengths = RUNS["lengths"]["lengths"]
    wanted, (dy, dh) = run(arguments, keywords | {"lengths": lengths})
    padding = np.arange(T) >= lengths[:, None]
    arguments[0][padding] = dy[padding] = np.nan
    y, (h,), tape = F.rnn_forward(*arguments, lengths=lengths, **keywords)
    dx, grads, (dh0,) = F.rnn_backward(tape, dy, (dh,))
    assert same({"y": y, "h": h, "x": dx, "h0": dh0} | grads, wanted)
    assert not any(np.isnan(a).any() for a in wanted.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
def test_masks_and_resets_are_pieces_run_alone(dtype, reverse):
    (x, *weights), keywords = problem(dtype)
    h0 = keywords["initial_state"][0]
    mask, resets = RUNS["resets"]["mask"], RUNS["resets"]["resets"]
    y, (h,) = F.rnn(x, *weights, initial_state=(h0,), mask=mask, resets=resets, reverse=reverse)
    for b in range(B):
        state = (h0[b : b + 1],)
        for t in range(T)[:: -1 if reverse else 1]:
            if (resets[b, t + 1] if t + 1 < T else False) if reverse else resets[b, t]:
                state = None
            if mask[b, t]:
                piece, state = F.rnn(x[b : b + 1, t : t + 1], *weights, initial_state=state)
                np.testing.assert_allclose(y[b, t], piece[0, 0], rtol=0, atol=1e-6)
            else:
                assert not y[b, t].any()
        np.testing.assert_allclose(h[b], 0 if state is None else state[0][0], rtol=0, atol=1e-6)


def test_an_empty_batch_and_no_valid_position():
    arguments, keywords = problem(np.float32)
    y, (h,), tape = F.rnn_forward(np.zeros((0, T, I)), *arguments[1:])
    assert (y.shape, h.shape) == ((0, T, H), (0, H))
    dx, grads, (dh0,) = F.rnn_backward(tape, y)
    assert (dx.shape, dh0.shape) == ((0, T, I), (0, H))
    assert not any(g.any() for g in grads.values())
    y, (h,), tape = F.rnn_forward(*arguments, lengths=np.zeros(B, int), **keywords)
    assert not y.any()
    np.testing.assert_array_equal(h, keywords["initial_state"][0])
    _, grads, (dh0,) = F.rnn_backward(tape, y, (h,), need_dx=False)
    np.testing.assert_array_equal(dh0, h)
    assert not any(g.any() for g in grads.values())


def test_an_activation_of_ones_own_is_computed_whatever_its_name():
    nothing = activations.Activation("tanh", np.zeros_like, lambda d, x, y: np.zeros_like(d))
    (x, *weights), _ = problem(np.float32)
    assert not F.rnn(x, *weights, activation=nothing)[0].any()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"x": np.zeros((2, 3))}, ValueError, r"x: expected shape \(B, T, 3\), got \(2, 3\)"),
        ({"x": np.zeros((2, 0, I))}, ValueError, "x: expected at least one time step"),
        ({"kernel": np.zeros((I, H + 1))}, ValueError, r"kernel: expected shape \(I, 19\)"),
        ({"kernel": np.zeros((0, H))}, ValueError, "kernel: expected at least one input feature"),
        ({"kernel": "W"}, TypeError, "kernel: expected an array of numbers"),
        ({"recurrent_kernel": np.zeros((H, 4 * H))}, ValueError, r"expected shape \(H, H\) with"),
        ({"recurrent_kernel": np.zeros((1, H, H))}, ValueError, r"expected shape \(H, H\) with"),
        ({"bias": np.zeros(H + 1)}, ValueError, r"bias: expected shape \(19,\), got \(20,\)"),
        ({"initial_state": np.zeros((B, H))}, ValueError, r"initial_state: .*\(h,\), got ndarray"),
        ({"initial_state": (0, 0)}, ValueError, r"initial_state: .*\(h,\), got tuple of 2"),
        ({"initial_state": (np.zeros((B, 1)),)}, ValueError, r"initial_state\[0\]: .*\(5, 19\)"),
        ({"lengths": np.full(B, T + 1)}, ValueError, "lengths: expected 0 .. 7"),
        ({"mask": np.full((B, T), 2)}, ValueError, "mask: expected booleans"),
        ({"resets": np.zeros((B, 1))}, ValueError, r"resets: expected shape \(5, 7\)"),
        ({"recurrent_mask": np.zeros((B, 1))}, ValueError, r"recurrent_mask: .*\(5, 19\)"),
        ({"activation": "tahn"}, ValueError, "activation: expected one of .*, got 'tahn'"),
        ({"backend": "gpu"}, ValueError, "backend: expected one of auto, .*, got 'gpu'"),
    ],
)
def test_bad_input_is_refused(wrong, error, message):
    named = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), problem()[0], strict=True))
    for function in (F.rnn, F.rnn_forward):
        with pytest.raises(error, match=message):
            function(**named | wrong)


def test_bad_gradients_are_refused_and_the_tape_is_used_once():
    arguments, _ = problem(np.float32)
    y, (h,), tape = F.rnn_forward(*arguments)
    with pytest.raises(ValueError, match=r"dy: expected shape \(5, 7, 19\)"):
        F.rnn_backward(tape, y[:, 1:])
    with pytest.raises(ValueError, match=r"d_state: expected a tuple \(h,\), got tuple of 2"):
        F.rnn_backward(tape, y, (h, h))
    with pytest.raises(TypeError, match="tape: expected what rnn_forward gave, got str"):
        F.rnn_backward("tape")
    with pytest.raises(TypeError, match="tape: expected what slstm_forward gave, got Tape of rnn"):
        F.slstm_backward(tape)
    F.rnn_backward(tape, y)
    with pytest.raises(ValueError, match="tape: expected one that no rnn_backward has used"):
        F.rnn_backward(tape, y)


def test_without_a_bias():
    (x, kernel, recurrent, bias), _ = problem(np.float32)
    y, _, tape = F.rnn_forward(x, kernel, recurrent)
    wanted, _ = F.rnn(x, kernel, recurrent, 0 * bias)
    np.testing.assert_array_equal(y, wanted)
    assert F.rnn_backward(tape, y)[1].keys() == {"kernel", "recurrent_kernel"}
