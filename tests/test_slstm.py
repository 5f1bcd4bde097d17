"""The sLSTM: its equations, finite differences, native against the specification, and bits."""

import itertools

import numpy as np
import pytest

from clstm import config
from clstm import functional as F

B, T, I, HEADS, D = 5, 7, 3, 3, 7
H = HEADS * D
NATIVE = any(isa != "scalar" for isa in config.available_isas())
FORGET = ["sigmoid", "exponential"]
RUNS = {
    "dense": {},
    "lengths": {"lengths": np.array([0, T, 3, 1, 5])},
    "mask": {"mask": np.random.default_rng(1).random((B, T)) < 0.6},
    "resets": {"mask": np.random.default_rng(2).random((B, T)) < 0.7,
               "resets": np.random.default_rng(3).random((B, T)) < 0.3},
}  # fmt: skip
native_only = pytest.mark.skipif(not NATIVE, reason="no native kernels on this CPU")


def problem(dtype=np.float64, batch=B, time=T, features=I, heads=HEADS, depth=D, seed=0):
    """x, kernel, recurrent_kernel, bias and keyword arguments."""
    rng, units = np.random.default_rng(seed), heads * depth

    def array(*shape, scale=1.0):
        return (rng.normal(size=shape) * scale).astype(dtype)

    arguments = [array(batch, time, features), array(features, 4 * units, scale=0.5),
                 array(heads, depth, 4 * depth, scale=depth**-0.5), array(4 * units)]  # fmt: skip
    n = np.abs(array(batch, units)) + np.asarray(0.5, dtype)
    state = array(batch, units), array(batch, units), n, array(batch, units)
    return arguments, {"initial_state": state, "recurrent_mask": array(batch, units) + 1}


def run(arguments, keywords, backend=None):
    """Everything that a run gives, by name, and the gradients that went in."""
    rng = np.random.default_rng(9)
    y, state, tape = F.slstm_forward(*arguments, backend=backend, **keywords)
    d = [rng.normal(size=a.shape).astype(a.dtype) for a in (y, *state[:3])]
    dx, grads, d_state = F.slstm_backward(tape, d[0], d[1:])
    named = {"y": y.copy(), "x": dx} | dict(zip("hcnm", state, strict=True)) | grads
    return named | dict(zip(("h0", "c0", "n0"), d_state, strict=True)), d


def same(one, two):
    return one.keys() == two.keys() and all(one[k].tobytes() == two[k].tobytes() for k in one)


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("forget", FORGET)
def test_the_equations_of_the_paper_without_a_stabiliser(backend, forget):
    """C = f C + e^i z and N = f N + e^i as they are, one unit of one head at a time."""
    dtype = np.float32 if backend == "native" else np.float64
    (x, W, U, b), _ = problem(dtype)
    y, (_, c, n, m) = F.slstm(x, W, U, b, forget_activation=forget, backend=backend)

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    for row in range(B):
        C, N, seen = np.zeros(H), np.zeros(H), np.zeros(H)
        for t in range(T):
            new = np.empty(H)
            for k in range(H):
                head, unit = divmod(k, D)
                before = seen[head * D : (head + 1) * D]
                z = [x[row, t].astype(float) @ W[:, v * H + k] + b[v * H + k]
                     + before @ U[head, :, v * D + unit] for v in range(4)]  # fmt: skip
                f = sigmoid(z[1]) if forget == "sigmoid" else np.exp(z[1])
                C[k] = f * C[k] + np.exp(z[0]) * np.tanh(z[2])
                N[k] = f * N[k] + np.exp(z[0])
                new[k] = sigmoid(z[3]) * C[k] / N[k]
            seen = new
            tolerance = 1e-5 if dtype == np.float32 else 1e-12
            np.testing.assert_allclose(y[row, t], seen, rtol=0, atol=tolerance)
        for sum_, scaled in ((C, c), (N, n)):
            np.testing.assert_allclose(scaled[row] * np.exp(m[row].astype(float)), sum_, rtol=1e-4)


@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("order", [{}, {"reverse": True}])
def test_gradients_are_those_of_finite_differences(forget, name, order):
    """Of all that the sums C and N decide: the unit e^m that c and n are in is held as it is."""
    arguments, keywords = problem(heads=2, depth=3)
    keywords |= RUNS[name] | order | {"forget_activation": forget}
    got, d = run(arguments, keywords)

    def loss():
        y, (h, c, n, m) = F.slstm(*arguments, **keywords)
        unit = np.exp(m - got["m"])
        return sum((a * b).sum() for a, b in zip((y, h, c * unit, n * unit), d, strict=True))

    named = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), arguments, strict=True))
    named |= dict(zip(("h0", "c0", "n0"), keywords["initial_state"], strict=False))
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


def test_the_stabiliser_cancels():
    """The same sums in another unit: the same y and gradients, which m has no part in."""
    arguments, keywords = problem()
    h, c, n, m = keywords["initial_state"]
    wanted, d = run(arguments, keywords)
    moved = keywords | {"initial_state": (h, c * np.exp(-3), n * np.exp(-3), m + 3)}
    y, state, tape = F.slstm_forward(*arguments, **moved)
    unit = np.exp(state[3] - wanted["m"])
    dx, grads, d_state = F.slstm_backward(tape, d[0], (d[1], d[2] * unit, d[3] * unit))
    got = {"y": y, "h": state[0], "x": dx, "h0": d_state[0]} | grads
    got |= {"c": state[1] * unit, "n": state[2] * unit}
    got |= {"c0": d_state[1] * np.exp(-3), "n0": d_state[2] * np.exp(-3)}
    for key, value in got.items():
        np.testing.assert_allclose(value, wanted[key], rtol=1e-9, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_state_of_zeros_is_the_start_whatever_the_input_gate(dtype):
    (x, W, U, b), _ = problem(dtype)
    b[:H] = -500  # e^-500 is 0 in float32
    y, (_, c, n, m) = F.slstm(x[:, :1], W, U, b)
    z = x[:, 0] @ W + b
    np.testing.assert_array_equal(n, 1)
    np.testing.assert_allclose(m, z[:, :H], rtol=1e-5)
    np.testing.assert_allclose(c, np.tanh(z[:, 2 * H : 3 * H]), rtol=1e-5)
    assert np.isfinite(y).all()
    junk = np.full((B, H), 7, dtype)
    other = F.slstm(x[:, :1], W, U, b, initial_state=(None, junk, None, -junk))
    np.testing.assert_array_equal(other[0], y)


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_preactivation_overflows(backend, forget, dtype):
    """Gates of up to 1e4 either way, in every order, are finite there and back."""
    sizes = np.array([-1e4, -200, -88, -1, 0, 1, 88, 200, 1e4])
    rng = np.random.default_rng(5)
    x = rng.choice(sizes, size=(64, 12, 8)).astype(dtype)
    W, U = np.eye(8, dtype=dtype), np.full((2, 1, 4), 0.1, dtype)
    y, state, tape = F.slstm_forward(x, W, U, backend=backend, forget_activation=forget)
    dx, grads, d_state = F.slstm_backward(tape, np.ones_like(y), state[:3])
    assert all(np.isfinite(a).all() for a in (y, *state, dx, *grads.values(), *d_state))
    assert np.abs(y).max() <= 1 + 1e-6


@pytest.mark.parametrize("forget", FORGET)
def test_long_sums_keep_their_digits(forget):
    """Hundreds of steps whose forget gate is almost 1: errors of log f would add up."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 500, 4))
    W, U, b = rng.normal(size=(4, 64)), rng.normal(size=(2, 8, 32)) * 0.1, np.zeros(64)
    W[:, 16:32] *= 0.01
    b[16:32] = 6 if forget == "sigmoid" else 0.002
    wanted, _ = F.slstm(x, W, U, b, forget_activation=forget)
    got, _ = F.slstm(*(a.astype(np.float32) for a in (x, W, U, b)), forget_activation=forget)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_time_major_is_the_same_run():
    for options in RUNS.values():
        arguments, keywords = problem()
        keywords |= options
        wanted, d = run(arguments, keywords)
        y, state, tape = F.slstm_forward(arguments[0].swapaxes(0, 1), *arguments[1:],
                                         time_major=True, **keywords)  # fmt: skip
        dx, grads, _ = F.slstm_backward(tape, d[0].swapaxes(0, 1), d[1:])
        got = {"y": y.swapaxes(0, 1), "x": dx.swapaxes(0, 1), "m": state[3]} | grads
        for key, value in got.items():
            np.testing.assert_array_equal(value, wanted[key], err_msg=key)


def singles(value):
    """float64 arrays, in tuples or not, as float32."""
    if isinstance(value, tuple):
        return tuple(singles(a) for a in value)
    floating = isinstance(value, np.ndarray) and value.dtype == np.float64
    return value.astype(np.float32) if floating else value


@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("heads, depth", [(3, 7), (1, 33), (2, 16), (4, 20)])
def test_float32_is_what_the_specification_gives_in_float64(name, forget, heads, depth):
    for time_major in (False, True):
        arguments, keywords = problem(heads=heads, depth=depth)
        keywords |= RUNS[name] | {"forget_activation": forget, "time_major": time_major}
        if time_major:
            arguments[0] = np.ascontiguousarray(arguments[0].swapaxes(0, 1))
        wanted, _ = run(arguments, keywords, "numpy")
        got, _ = run([singles(a) for a in arguments], {k: singles(v) for k, v in keywords.items()})
        for key, value in wanted.items():
            assert got[key].dtype == np.float32
            scale = max(1, np.abs(value).max())
            np.testing.assert_allclose(got[key], value, rtol=0, atol=2e-5 * scale, err_msg=key)


@native_only
@pytest.mark.parametrize("forget", FORGET)
@pytest.mark.parametrize("shape", [(1, 9, 5, 1, 1), (3, 7, 65, 3, 17), (40, 30, 33, 2, 40)])
def test_threads_and_instruction_sets_change_no_bit(shape, forget, restore, monkeypatch):
    arguments, keywords = problem(np.float32, *shape)
    rng = np.random.default_rng(4)
    keywords |= {"mask": rng.random(shape[:2]) < 0.8, "resets": rng.random(shape[:2]) < 0.1,
                 "forget_activation": forget}  # fmt: skip
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


@native_only
def test_a_row_is_the_same_alone_and_anywhere_in_a_batch():
    (x, *weights), keywords = problem(np.float32, 37, 9, 21, 3, 17)
    state, factors = keywords["initial_state"], keywords["recurrent_mask"]
    whole, final = F.slstm(x, *weights, initial_state=state, recurrent_mask=factors)
    rng = np.random.default_rng(3)
    for size in (1, 2, 5, 36):
        rows = rng.permutation(37)[:size]
        y, some = F.slstm(x[rows], *weights, initial_state=tuple(a[rows] for a in state),
                          recurrent_mask=factors[rows])  # fmt: skip
        for one, all_ in zip((y, *some), (whole, *final), strict=True):
            assert one.tobytes() == all_[rows].tobytes()


@native_only
def test_a_run_is_its_steps_with_the_state_handed_on():
    (x, *weights), keywords = problem(np.float32, 3, 40, 8, 2, 12)
    state = keywords["initial_state"]
    whole, final, _ = F.slstm_forward(x, *weights, initial_state=state)
    for t in range(40):
        y, state = F.slstm(x[:, t : t + 1], *weights, initial_state=state)
        assert y.tobytes() == whole[:, t : t + 1].tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(state, final, strict=True))


def test_gradients_of_a_run_in_two_pieces_are_those_of_the_whole():
    arguments, keywords = problem()
    x, *weights = arguments
    wanted, d = run(arguments, keywords)
    options = {"recurrent_mask": keywords["recurrent_mask"]}
    _, state, one = F.slstm_forward(x[:, :3], *weights, **keywords)
    _, _, two = F.slstm_forward(x[:, 3:], *weights, initial_state=state, **options)
    dx2, grads2, between = F.slstm_backward(two, d[0][:, 3:], d[1:])
    dx1, grads1, first = F.slstm_backward(one, d[0][:, :3], between)
    np.testing.assert_allclose(np.concatenate([dx1, dx2], 1), wanted["x"], rtol=1e-9, atol=1e-12)
    for key, value in grads1.items():
        np.testing.assert_allclose(value + grads2[key], wanted[key], rtol=1e-9, atol=1e-12)
    for key, value in zip(("h0", "c0", "n0"), first, strict=True):
        np.testing.assert_allclose(value, wanted[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_may_be_nan(dtype):
    arguments, keywords = problem(dtype)
    lengths = RUNS["lengths"]["lengths"]
    wanted, d = run(arguments, keywords | {"lengths": lengths})
    padding = np.arange(T) >= lengths[:, None]
    arguments[0][padding] = d[0][padding] = np.nan
    y, _, tape = F.slstm_forward(*arguments, lengths=lengths, **keywords)
    dx, grads, d_state = F.slstm_backward(tape, d[0], d[1:])
    got = {"y": y, "x": dx, **grads} | dict(zip(("h0", "c0", "n0"), d_state, strict=True))
    assert same(got, {key: wanted[key] for key in got})
    assert not any(np.isnan(a).any() for a in got.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
def test_masks_and_resets_are_pieces_run_alone(dtype, reverse):
    (x, *weights), keywords = problem(dtype)
    start = keywords["initial_state"]
    mask, resets = RUNS["resets"]["mask"], RUNS["resets"]["resets"]
    y, final = F.slstm(x, *weights, initial_state=start, mask=mask, resets=resets, reverse=reverse)
    for b in range(B):
        state = tuple(a[b : b + 1] for a in start)
        for t in range(T)[:: -1 if reverse else 1]:
            if (resets[b, t + 1] if t + 1 < T else False) if reverse else resets[b, t]:
                state = (np.zeros((1, H), dtype),) * 4
            if mask[b, t]:
                piece, state = F.slstm(x[b : b + 1, t : t + 1], *weights, initial_state=state)
                np.testing.assert_allclose(y[b, t], piece[0, 0], rtol=0, atol=1e-6)
            else:
                assert not y[b, t].any()
        for got, wanted in zip(final, state, strict=True):
            np.testing.assert_allclose(got[b], wanted[0], rtol=1e-5, atol=1e-6)


def test_an_empty_batch_and_no_valid_position():
    arguments, keywords = problem(np.float32)
    y, state, tape = F.slstm_forward(np.zeros((0, T, I)), *arguments[1:])
    assert y.shape == (0, T, H)
    assert all(a.shape == (0, H) for a in state)
    _, grads, d_state = F.slstm_backward(tape, y)
    assert all(a.shape == (0, H) for a in d_state)
    assert not any(g.any() for g in grads.values())
    y, state, tape = F.slstm_forward(*arguments, lengths=np.zeros(B, int), **keywords)
    assert not y.any()
    _, grads, d_state = F.slstm_backward(tape, y, state[:3], need_dx=False)
    for got, wanted in zip((*state, *d_state), (*keywords["initial_state"] * 2,), strict=False):
        np.testing.assert_array_equal(got, wanted)
    assert not any(g.any() for g in grads.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": np.zeros((2, 3))}, r"x: expected shape \(B, T, 3\), got \(2, 3\)"),
        ({"kernel": np.zeros((I, H))}, r"kernel: expected shape \(I, 84\), got \(3, 21\)"),
        ({"recurrent_kernel": np.zeros((H, 4 * H))}, r"expected shape \(heads, D, 4D\) with"),
        ({"recurrent_kernel": np.zeros((3, 7, 21))}, r"expected shape \(heads, D, 4D\) with"),
        ({"recurrent_kernel": np.zeros((0, 7, 28))}, r"with at least one unit, got \(0, 7, 28\)"),
        ({"bias": np.zeros(H)}, r"bias: expected shape \(84,\), got \(21,\)"),
        ({"initial_state": (0, 0)}, r"initial_state: .*\(h, c, n, m\), got tuple of 2"),
        ({"initial_state": (None, None, np.zeros(3), None)}, r"initial_state\[2\]: .*\(5, 21\)"),
        ({"initial_state": (None, None, np.full((B, H), -1.0), None)},
         r"initial_state\[2\]: expected n of at least 0, got -1"),
        ({"forget_activation": "tanh"}, "forget_activation: expected 'sigmoid' or 'exponential'"),
        ({"forget_activation": None}, "forget_activation: .*, got None"),
        ({"recurrent_mask": np.zeros((B, 1))}, r"recurrent_mask: .*\(5, 21\)"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(wrong, message):
    named = dict(zip(("x", "kernel", "recurrent_kernel", "bias"), problem()[0], strict=True))
    for function in (F.slstm, F.slstm_forward):
        with pytest.raises(ValueError, match=message):
            function(**named | wrong)


def test_bad_gradients_are_refused_and_the_tape_is_used_once():
    arguments, _ = problem(np.float32)
    y, state, tape = F.slstm_forward(*arguments)
    with pytest.raises(ValueError, match=r"dy: expected shape \(5, 7, 21\)"):
        F.slstm_backward(tape, y[:, 1:])
    with pytest.raises(ValueError, match=r"d_state: .*\(h, c, n\), got tuple of 4"):
        F.slstm_backward(tape, y, state)
    with pytest.raises(TypeError, match="tape: expected what rnn_forward gave, got Tape of slstm"):
        F.rnn_backward(tape)
    F.slstm_backward(tape, y)
    with pytest.raises(ValueError, match="tape: expected one that no slstm_backward has used"):
        F.slstm_backward(tape, y)


@pytest.mark.parametrize("cell", ["slstm", "rnn"])
def test_ragged_rows_on_many_threads_without_a_tape(cell, restore):
    """Row groups are in different stretches at a time, of different numbers of rows."""
    rng = np.random.default_rng(3)
    B, T, I, H = 64, 400, 16, 64
    gates = 4 if cell == "slstm" else 1
    x, lengths = rng.normal(size=(B, T, I)).astype(np.float32), rng.integers(10, T + 1, B)
    kernel = (rng.normal(size=(I, gates * H)) * 0.3).astype(np.float32)
    recurrent = (rng.normal(size=(H, gates * H)) * 0.2).astype(np.float32)
    run = F.slstm if cell == "slstm" else F.rnn
    seen = []
    for threads in (1, 2, 2, 3, 5, 5):
        config.set_num_threads(threads)
        y, _ = run(x, kernel, recurrent[None] if cell == "slstm" else recurrent, lengths=lengths)
        seen.append(y.tobytes())
    assert all(other == seen[0] for other in seen[1:])
