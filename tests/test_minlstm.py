"""minLSTM: against its equations and finite differences, between backends, and its bits."""

import itertools

import numpy as np
import pytest

from clstm import config
from clstm import functional as F

pytestmark = pytest.mark.usefixtures("restore")
VECTOR_ISAS = [isa for isa in config.available_isas() if isa != "scalar"]
native = pytest.mark.skipif(not VECTOR_ISAS, reason="no native kernels on this CPU")
# the third has more packed rows than a chunk, the fourth fewer rows than unit blocks
SHAPES = [(1, 1, 1, 1), (5, 6, 3, 19), (33, 70, 5, 33), (2, 9, 17, 100)]
OPTIONS = ["dense", "time-major", "lengths", "mask-reverse", "resets", "no-bias"]


def problem(shape, name="dense", dtype=np.float32, seed=0):
    """x, kernel, bias, keyword arguments, dy, dh."""
    B, T, I, H = shape
    rng = np.random.default_rng(seed)

    def make(*size):
        return rng.normal(size=size).astype(dtype)

    x, kernel, bias, h0, dy, dh = (make(B, T, I), make(I, 3 * H), make(3 * H), make(B, H),
                                   make(B, T, H), make(B, H))  # fmt: skip
    keywords = {
        "dense": {},
        "time-major": {"time_major": True},
        "lengths": {"lengths": rng.integers(0, T + 1, B)},
        "mask-reverse": {"mask": rng.random((B, T)) < 0.6, "reverse": True},
        "resets": {"mask": rng.random((B, T)) < 0.7, "resets": rng.random((B, T)) < 0.3},
        "no-bias": {},
    }[name]
    if name == "time-major":
        x, dy = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (x, dy))
    keywords["initial_state"] = (h0,)
    return x, kernel, None if name == "no-bias" else bias, keywords, dy, dh


def run(shape, name="dense", backend="native", dtype=np.float32):
    """Everything that a run gives."""
    x, kernel, bias, keywords, dy, dh = problem(shape, name, dtype)
    y, (h,), tape = F.minlstm_forward(x, kernel, bias, backend=backend, **keywords)
    dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
    without, (h_without,) = F.minlstm(x, kernel, bias, backend=backend, **keywords)
    assert same([y, h], [without, h_without])
    return [a for a in (y, h, dx, d["kernel"], d["bias"], dh0) if a is not None]


def same(one, two):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_the_reference_is_the_equations():
    x, kernel, bias, keywords, _, _ = problem((4, 7, 3, 5), dtype=np.float64)
    y, (h,) = F.minlstm(x, kernel, bias, backend="numpy", **keywords)
    state = keywords["initial_state"][0]
    for t in range(7):
        zi, zf, g = np.split(x[:, t] @ kernel + bias, 3, axis=1)
        i, f = sigmoid(zi), sigmoid(zf)
        state = f / (f + i) * state + i / (f + i) * g
        np.testing.assert_allclose(y[:, t], state, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(h, y[:, -1])


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_those_of_finite_differences(name):
    shape = (3, 5, 2, 4)
    x, kernel, bias, keywords, dy, dh = problem(shape, name, np.float64)
    _, _, tape = F.minlstm_forward(x, kernel, bias, backend="numpy", **keywords)
    dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))

    def loss():
        y, (h,) = F.minlstm(x, kernel, bias, backend="numpy", **keywords)
        return (y * dy).sum() + (h * dh).sum()

    pairs = [(x, dx), (kernel, d["kernel"]), (keywords["initial_state"][0], dh0)]
    if bias is not None:
        pairs.append((bias, d["bias"]))
    for array, gradient in pairs:
        for at in np.ndindex(array.shape):
            value, step = array[at], 1e-6
            array[at] = value + step
            above = loss()
            array[at] = value - step
            below = loss()
            array[at] = value
            np.testing.assert_allclose(gradient[at], (above - below) / (2 * step), rtol=1e-6,
                                       atol=1e-8)  # fmt: skip


@pytest.mark.parametrize("backend", ["native", "blas", "numpy"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_backend_gives_what_the_specification_gives(shape, name, backend):
    wanted = run(shape, name, "numpy", np.float64)
    for got, want in zip(run(shape, name, backend), wanted, strict=True):
        assert got.dtype == np.float32 and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max()))


@native
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_and_instruction_sets_change_no_bit(shape, name):
    config.set_num_threads(1)
    expected = run(shape, name)
    for isa, threads in itertools.product(VECTOR_ISAS, (1, 2, 3, 5)):
        config.set_isa(isa)
        config.set_num_threads(threads)
        assert same(run(shape, name), expected), (isa, threads)


@native
def test_a_row_is_the_same_alone_and_anywhere_in_a_batch():
    x, kernel, bias, keywords, dy, dh = problem((40, 30, 21, 50))
    h0 = keywords["initial_state"][0]
    y, (h,), tape = F.minlstm_forward(x, kernel, bias, **keywords)
    dx, _, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
    rng = np.random.default_rng(3)
    for size in (1, 2, 13, 39):
        rows = rng.permutation(40)[:size]
        some, (h_some,), tape = F.minlstm_forward(x[rows], kernel, bias, initial_state=(h0[rows],))
        dx_some, _, (dh0_some,) = F.minlstm_backward(tape, dy[rows], (dh[rows],))
        assert same([some, h_some, dx_some, dh0_some], [y[rows], h[rows], dx[rows], dh0[rows]])


@native
def test_steps_one_by_one_are_the_same_bits():
    x, kernel, bias, keywords, _, _ = problem((3, 20, 8, 24))
    whole, final = F.minlstm(x, kernel, bias, **keywords)
    state = keywords["initial_state"]
    for t in range(20):
        y, state = F.minlstm(x[:, t : t + 1], kernel, bias, initial_state=state)
        assert same([y], [whole[:, t : t + 1]])
    assert same(state, final)


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("reverse", [False, True])
def test_masks_and_resets_make_rows_of_their_own(backend, reverse):
    """A row is its valid positions between resets, each piece run alone from a state of zeros."""
    B, T = 4, 12
    x, kernel, bias, keywords, dy, dh = problem((B, T, 5, 19), "resets")
    mask, resets, (h0,) = keywords["mask"], keywords["resets"], keywords["initial_state"]
    y, (h,), tape = F.minlstm_forward(x, kernel, bias, backend=backend, reverse=reverse, **keywords)
    dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
    d_kernel = np.zeros(kernel.shape)
    assert not y[~mask].any() and not dx[~mask].any()
    for b in range(B):
        times = np.arange(T)[:: -1 if reverse else 1]
        begins = np.flatnonzero(resets[b])
        cuts = [0, *((T - begins[::-1])[begins[::-1] > 0] if reverse else begins), T]
        for k, (begin, end) in enumerate(itertools.pairwise(cuts)):
            piece = times[begin:end][mask[b, times[begin:end]]]
            state = h0[b : b + 1] if k == 0 else np.zeros((1, 19), "f4")
            last = k == len(cuts) - 2
            d_last = dh[b : b + 1] if last else np.zeros((1, 19), "f4")
            if len(piece):
                part, (state,), own = F.minlstm_forward(x[b, piece][None], kernel, bias,
                                                        initial_state=(state,),
                                                        backend=backend)  # fmt: skip
                d_part, grads, (d_last,) = F.minlstm_backward(own, dy[b, piece][None], (d_last,))
                np.testing.assert_allclose(y[b, piece], part[0], rtol=0, atol=1e-6)
                np.testing.assert_allclose(dx[b, piece], d_part[0], rtol=0, atol=1e-5)
                d_kernel += grads["kernel"]
            if k == 0:
                np.testing.assert_allclose(dh0[b], d_last[0], rtol=0, atol=1e-6)
            if last:
                np.testing.assert_allclose(h[b], state[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(d["kernel"], d_kernel, rtol=0, atol=1e-4)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_what_stands_in_the_padding_does_not_matter(backend):
    x, kernel, bias, keywords, dy, dh = problem((6, 11, 7, 33), "mask-reverse")
    results = []
    for filling in (0, np.nan, np.inf):
        x[~keywords["mask"]] = dy[~keywords["mask"]] = filling
        y, (h,), tape = F.minlstm_forward(x, kernel, bias, backend=backend, **keywords)
        dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
        results.append([y, h, dx, *d.values(), dh0])
    assert np.isfinite(np.concatenate([a.ravel() for a in results[0]])).all()
    assert same(results[0], results[1]) and same(results[0], results[2])


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_gates_are_no_nan(backend, dtype):
    """Where both sigmoids underflow their ratio is still that of the equations."""
    most = np.finfo(dtype).max
    values = np.array([-most, -1e30, -1000, -100, -3, 0, 3, 100, 1000, 1e30, most], dtype)
    zi, zf = (a.ravel() for a in np.meshgrid(values, values))
    bias = np.concatenate([zi, zf, np.ones_like(zi)])
    kernel = np.zeros((1, bias.size), dtype)
    h0 = np.zeros((1, zi.size), dtype)
    y, _, tape = F.minlstm_forward(np.zeros((1, 1, 1), dtype), kernel, bias, initial_state=(h0,),
                                   backend=backend)  # fmt: skip
    _, d, (dh0,) = F.minlstm_backward(tape, np.ones_like(y))
    assert np.isfinite(d["bias"]).all()
    # F / A = (1 + e^-zi) / (1 + e^-zf)
    with np.errstate(over="ignore"):
        ratio = np.logaddexp(0, -zi.astype(np.longdouble)) - np.logaddexp(
            0, -zf.astype(np.longdouble)
        )
        wanted = 1 / (1 + np.exp(-ratio))
    np.testing.assert_allclose(dh0[0], wanted.astype(dtype), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(y[0, 0] + dh0[0], 1, rtol=1e-6)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_nothing_to_do(backend):
    x, kernel, bias, keywords, dy, dh = problem((3, 4, 2, 5))
    h0 = keywords["initial_state"][0]
    y, (h,), tape = F.minlstm_forward(x, kernel, bias, initial_state=(h0,), lengths=[0, 0, 0],
                                      backend=backend)  # fmt: skip
    dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
    assert not y.any() and not dx.any() and not d["kernel"].any() and not d["bias"].any()
    assert same([h, dh0], [h0, dh])
    y, (h,), tape = F.minlstm_forward(x[:0], kernel, bias, backend=backend)
    dx, d, (dh0,) = F.minlstm_backward(tape, dy[:0])
    assert y.shape == (0, 4, 5) and h.shape == dh0.shape == (0, 5) and dx.shape == (0, 4, 2)
    assert not d["kernel"].any()


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_a_tape_stays_whole_and_gradients_may_be_left_out(backend):
    x, kernel, bias, keywords, dy, dh = problem((5, 6, 3, 19), "resets")
    _, _, tape = F.minlstm_forward(x, kernel, bias, backend=backend, **keywords)
    dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
    none, d_again, (dh0_again,) = F.minlstm_backward(tape, dy, (dh,), need_dx=False)
    assert none is None and dx is not None
    assert same([*d.values(), dh0], [*d_again.values(), dh0_again])
    _, zero, _ = F.minlstm_backward(tape)
    assert not zero["kernel"].any() and not zero["bias"].any()
    _, _, tape = F.minlstm_forward(x, kernel, backend=backend)
    assert F.minlstm_backward(tape, dy)[1]["bias"] is None


@native
def test_a_tape_outlives_a_change_of_the_instruction_set():
    x, kernel, bias, keywords, dy, dh = problem((4, 5, 6, 8))
    _, _, tape = F.minlstm_forward(x, kernel, bias, **keywords)
    results = []
    for isa in config.available_isas():
        config.set_isa(isa)
        dx, d, (dh0,) = F.minlstm_backward(tape, dy, (dh,))
        results.append([dx, *d.values(), dh0])
    assert all(same(results[0], other) for other in results[1:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kernel": np.zeros((3, 4))}, r"kernel: expected shape \(I, 3H\) .*got \(3, 4\)"),
        ({"kernel": np.zeros((3, 0))}, r"kernel: expected shape \(I, 3H\)"),
        ({"kernel": np.zeros((0, 6))}, r"kernel: expected shape \(I, 3H\)"),
        ({"kernel": np.zeros(6)}, r"kernel: expected shape \(I, 3H\)"),
        ({"bias": np.zeros(5)}, r"bias: expected shape \(6,\), got \(5,\)"),
        ({"x": np.zeros((2, 4, 5))}, r"x: expected shape \(B, T, 3\)"),
        ({"x": np.zeros((2, 0, 3))}, "x: expected at least one time step"),
        ({"initial_state": np.zeros((2, 2))}, r"initial_state: expected \(h,\), got ndarray"),
        ({"initial_state": [1, 2]}, r"initial_state: expected \(h,\), got list of 2"),
        ({"initial_state": [np.zeros((2, 3))]}, r"initial_state\[0\]: expected shape \(2, 2\)"),
        ({"lengths": [1, 5]}, r"lengths: expected 0 .. 4"),
        ({"lengths": [1, 4], "mask": np.ones((2, 4))}, "lengths: expected None beside a mask"),
        ({"mask": np.ones((2, 5))}, r"mask: expected shape \(2, 4\)"),
        ({"resets": np.full((2, 4), 2)}, "resets: expected booleans, or 0 and 1, got 2"),
        ({"backend": "cuda"}, "backend: expected one of auto, .*got 'cuda'"),
    ],
)
def test_wrong_arguments_are_refused(wrong, message):
    good = {"x": np.zeros((2, 4, 3)), "kernel": np.zeros((3, 6)), "bias": np.zeros(6)}
    for function in (F.minlstm, F.minlstm_forward):
        with pytest.raises(ValueError, match=message):
            function(**good | wrong)


def test_wrong_gradients_are_refused():
    _, _, tape = F.minlstm_forward(np.zeros((2, 4, 3)), np.zeros((3, 6)))
    with pytest.raises(TypeError, match="tape: expected what minlstm_forward gave, got None"):
        F.minlstm_backward(None)
    with pytest.raises(ValueError, match=r"dy: expected shape \(2, 4, 2\)"):
        F.minlstm_backward(tape, np.zeros((2, 4, 3)))
    with pytest.raises(ValueError, match=r"d_state\[0\]: expected shape \(2, 2\)"):
        F.minlstm_backward(tape, d_state=(np.zeros((2, 3)),))
    with pytest.raises(TypeError, match="x: expected an array of numbers"):
        F.minlstm([["a"]], np.zeros((3, 6)))
