"""The functional LSTM: finite differences, blas against numpy, what options mean, errors."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clstm import functional as F

SIZES = (1, 3, 17, 33)
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def problem(seed, batch, time, inputs, units, dtype="float64", time_major=False):
    """Arrays of one run: x, the weights, and states and gradients of h and c, all nonzero."""
    rng = np.random.default_rng(seed)
    lead = (time, batch) if time_major else (batch, time)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    return {
        "x": draw(*lead, inputs),
        "kernel": draw(inputs, 4 * units) / np.sqrt(inputs).astype(dtype),
        "recurrent_kernel": draw(units, 4 * units) / np.sqrt(units).astype(dtype),
        "bias": draw(4 * units),
        "h0": draw(batch, units),
        "c0": draw(batch, units),
        "dy": draw(*lead, units),
        "dh": draw(batch, units),
        "dc": draw(batch, units),
    }


def forward(p, **options):
    return F.lstm_forward(p["x"], p["kernel"], p["recurrent_kernel"], p["bias"],
                          initial_state=(p["h0"], p["c0"]), **options)  # fmt: skip


def scalar(p, **options):
    y, (h, c) = F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], p["bias"],
                       initial_state=(p["h0"], p["c0"]), **options)  # fmt: skip
    return (y * p["dy"]).sum() + (h * p["dh"]).sum() + (c * p["dc"]).sum()


def check_gradients(p, valid=None, **options):
    """Every gradient along random directions against central differences."""
    _, _, tape = forward(p, **options)
    grads = F.lstm_backward(tape, p["dy"], p["dh"], p["dc"])
    rng = np.random.default_rng(99)
    for name in ("x", "kernel", "recurrent_kernel", "bias", "h0", "c0"):
        for _ in range(2):
            direction = rng.normal(size=p[name].shape)
            if name == "x" and valid is not None:
                direction[~valid] = 0
            eps = 1e-5
            ends = [scalar({**p, name: p[name] + s * eps * direction}, **options) for s in (1, -1)]
            wanted = (ends[0] - ends[1]) / (2 * eps)
            got = (getattr(grads, name) * direction).sum()
            scale = np.abs(getattr(grads, name) * direction).sum() + 1e-12
            assert abs(got - wanted) / scale < 1e-6, name
    return grads


MASKS = {
    "none": {},
    "lengths": {"lengths": [3, 0, 5, 1]},
    "gaps": {
        "mask": np.array(
            [[1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool
        )
    },
}


@pytest.mark.parametrize("backend", ["blas", "numpy"])
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", MASKS)
def test_gradients(backend, time_major, reverse, masked):
    p = problem(1, 4, 5, 3, 3, time_major=time_major)
    rng = np.random.default_rng(2)
    options = {"backend": backend, "time_major": time_major, "reverse": reverse, **MASKS[masked]}
    options["recurrent_mask"] = (rng.random((4, 3)) < 0.7) / 0.7
    grads = check_gradients(p, **options)
    if masked != "none":
        skipped = ~MASKS["gaps"]["mask"] if masked == "gaps" else np.arange(5) >= np.array(
            MASKS["lengths"]["lengths"])[:, None]  # fmt: skip
        dx = grads.x.swapaxes(0, 1) if time_major else grads.x
        assert (dx[skipped] == 0).all()
        np.testing.assert_array_equal(grads.h0[1], p["dh"][1])  # the row without a valid step
        np.testing.assert_array_equal(grads.c0[1], p["dc"][1])


@pytest.mark.parametrize(("batch", "units"), [*itertools.product(SIZES, SIZES)])
def test_gradients_of_sizes(batch, units):
    check_gradients(problem(3, batch, 3, 33 if units == 3 else 3, units), backend="blas")


@pytest.mark.parametrize(
    ("activation", "recurrent_activation"),
    [("relu", "sigmoid"), ("tanh", "hard_sigmoid"), ("softsign", "sigmoid"), ("linear", "tanh"),
     ("elu", "hard_sigmoid"), ("gelu", "sigmoid")],
)  # fmt: skip
def test_gradients_of_other_activations(activation, recurrent_activation):
    check_gradients(problem(4, 3, 4, 2, 3), activation=activation, lengths=[4, 2, 0],
                    recurrent_activation=recurrent_activation)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "units"), [*itertools.product(SIZES, SIZES)])
def test_blas_equals_numpy(batch, units, dtype):
    compare(problem(5, batch, 4, 17, units, dtype), dtype)


def compare(p, dtype, need_dx=True, **options):
    """All results of the backends, elementwise against the largest element."""
    runs = []
    for backend in ("blas", "numpy"):
        y, (h, c), tape = forward(p, backend=backend, **options)
        grads = F.lstm_backward(tape, p["dy"], p["dh"], p["dc"], need_dx=need_dx)
        inference, _ = TestMeaning.run(p, backend, **options)
        np.testing.assert_array_equal(inference, y)
        assert (grads.x is None) == (not need_dx)
        given = {name: g for name, g in grads._asdict().items() if g is not None}
        runs.append({"y": y, "h": h, "c": c, **given})
    assert runs[0].keys() == runs[1].keys()
    for name in runs[0]:
        one, two = (run[name] for run in runs)
        assert one.dtype == two.dtype == np.dtype(dtype) and one.shape == two.shape, name
        tolerance = TOLERANCE[dtype] * max(1.0, np.abs(two).max(initial=0))
        np.testing.assert_allclose(one, two, rtol=0, atol=tolerance, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(0, 9), time=st.integers(1, 7), inputs=st.integers(1, 9),
    units=st.integers(1, 9), dtype=st.sampled_from(["float32", "float64"]), reverse=st.booleans(),
    time_major=st.booleans(), masked=st.sampled_from(["no", "lengths", "mask"]),
    dropped=st.booleans(), need_dx=st.booleans(), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_backends_agree_on_anything(batch, time, inputs, units, dtype, reverse, time_major, masked,
                                    dropped, need_dx, seed):  # fmt: skip
    p = problem(seed, batch, time, inputs, units, dtype, time_major)
    rng = np.random.default_rng(seed)
    options = {"reverse": reverse, "time_major": time_major}
    if masked == "lengths":
        options["lengths"] = rng.integers(0, time + 1, batch)
    elif masked == "mask":
        options["mask"] = rng.random((batch, time)) < 0.6
    if dropped:
        options["recurrent_mask"] = rng.random((batch, units)) * 2
    compare(p, dtype, need_dx, **options)


@pytest.mark.parametrize("backend", ["blas", "numpy"])
class TestMeaning:
    """What lengths, masks, reverse and states mean, each said another way."""

    def test_a_row_does_not_depend_on_the_others(self, backend):
        p = problem(6, 5, 6, 3, 17, "float32")
        y, (h, c) = F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], p["bias"], backend=backend)
        one, (h1, c1) = F.lstm(p["x"][2:3], p["kernel"], p["recurrent_kernel"], p["bias"],
                               backend=backend)  # fmt: skip
        np.testing.assert_allclose(one[0], y[2], atol=1e-6)
        np.testing.assert_allclose(h1[0], h[2], atol=1e-6)
        np.testing.assert_allclose(c1[0], c[2], atol=1e-6)

    def test_lengths_are_shorter_sequences(self, backend):
        p = problem(7, 3, 6, 2, 3)
        lengths = [6, 2, 0]
        y, (h, c) = self.run(p, backend, lengths=lengths)
        for row, length in enumerate(lengths):
            if length:
                own = {k: p[k][row : row + 1] for k in ("h0", "c0")}
                y1, (h1, c1) = self.run({**p, **own, "x": p["x"][row : row + 1, :length]}, backend)
                np.testing.assert_allclose(y[row, :length], y1[0], atol=1e-12)
                np.testing.assert_allclose(h[row], h1[0], atol=1e-12)
                np.testing.assert_allclose(c[row], c1[0], atol=1e-12)
            assert (y[row, length:] == 0).all()
        np.testing.assert_array_equal(h[2], p["h0"][2])
        np.testing.assert_array_equal(c[2], p["c0"][2])

    def test_gaps_are_left_out(self, backend):
        p = problem(8, 1, 5, 2, 3)
        keep = [0, 2, 3]
        mask = np.isin(np.arange(5), keep)[None]
        for reverse in (False, True):
            y, (h, c) = self.run(p, backend, mask=mask, reverse=reverse)
            y1, (h1, c1) = self.run({**p, "x": p["x"][:, keep]}, backend, reverse=reverse)
            np.testing.assert_allclose(y[:, keep], y1, atol=1e-12)
            np.testing.assert_allclose(h, h1, atol=1e-12)
            np.testing.assert_allclose(c, c1, atol=1e-12)

    def test_reverse_is_the_flipped_run(self, backend):
        p = problem(9, 2, 5, 2, 3)
        y, (h, c) = self.run(p, backend, reverse=True)
        y1, (h1, c1) = self.run({**p, "x": p["x"][:, ::-1]}, backend)
        np.testing.assert_allclose(y, y1[:, ::-1], atol=1e-12)
        np.testing.assert_allclose(h, h1, atol=1e-12)
        np.testing.assert_allclose(c, c1, atol=1e-12)

    def test_time_major(self, backend):
        p = problem(10, 2, 5, 2, 3)
        y, (h, _) = self.run(p, backend, lengths=[5, 3])
        turned = {**p, "x": p["x"].swapaxes(0, 1)}
        y1, (h1, _) = self.run(turned, backend, lengths=[5, 3], time_major=True)
        np.testing.assert_array_equal(y, y1.swapaxes(0, 1))
        np.testing.assert_array_equal(h, h1)

    def test_states_carry_on(self, backend):
        p = problem(11, 2, 6, 2, 3)
        y, (h, c) = self.run(p, backend)
        y1, (h1, c1) = self.run({**p, "x": p["x"][:, :4]}, backend)
        y2, (h2, c2) = self.run({**p, "x": p["x"][:, 4:], "h0": h1, "c0": c1}, backend)
        np.testing.assert_allclose(np.concatenate([y1, y2], axis=1), y, atol=1e-12)
        np.testing.assert_allclose(h2, h, atol=1e-12)
        np.testing.assert_allclose(c2, c, atol=1e-12)

    def test_padding_may_hold_anything(self, backend):
        p = problem(12, 3, 5, 2, 3)
        mask = np.arange(5) < np.array([[5], [2], [0]])
        clean = self.all_results(p, backend, mask)
        p["x"][~mask] = np.nan
        p["dy"][~mask] = np.inf
        for one, two in zip(clean, self.all_results(p, backend, mask), strict=True):
            np.testing.assert_array_equal(one, two)

    def test_nan_in_a_valid_step_flows(self, backend):
        p = problem(13, 2, 4, 2, 3)
        p["x"][0, 2] = np.nan
        y, _ = self.run(p, backend)
        assert np.isfinite(y[0, :2]).all() and np.isnan(y[0, 2:]).all() and np.isfinite(y[1]).all()

    def test_no_bias_and_no_state_are_zeros(self, backend):
        p = problem(14, 2, 4, 2, 3)
        zeros = {k: np.zeros_like(p[k]) for k in ("bias", "h0", "c0")}
        y, _ = self.run({**p, **zeros}, backend)
        plain, _ = F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], backend=backend)
        np.testing.assert_array_equal(plain, y)
        y1, _, tape = F.lstm_forward(p["x"], p["kernel"], p["recurrent_kernel"], backend=backend,
                                     initial_state=(None, None))  # fmt: skip
        np.testing.assert_array_equal(y1, y)
        assert F.lstm_backward(tape, p["dy"]).bias is None

    def test_extreme_inputs_saturate(self, backend):
        p = problem(15, 2, 3, 2, 3, "float32")
        p["x"] *= 1e30
        y, (h, c) = self.run(p, backend)
        assert np.isfinite(y).all() and np.isfinite(h).all() and np.isfinite(c).all()

    def test_into_is_added_to(self, backend):
        p = problem(16, 2, 3, 2, 3)
        wanted = F.lstm_backward(forward(p, backend=backend)[2], p["dy"], p["dh"], p["dc"])
        into = [np.ones((2, 12)), np.ones((3, 12)), np.ones(12)]
        got = F.lstm_backward(forward(p, backend=backend)[2], p["dy"], p["dh"], p["dc"], into=into)
        for name, array in zip(("kernel", "recurrent_kernel", "bias"), into, strict=True):
            assert getattr(got, name) is array
            np.testing.assert_allclose(array - 1, getattr(wanted, name), atol=1e-12)

    def test_backward_leaves_its_arguments_alone(self, backend):
        p = problem(17, 3, 4, 2, 3)
        before = {k: v.copy() for k, v in p.items()}
        y, (h, c), tape = forward(p, backend=backend, lengths=[4, 2, 0])
        kept = y.copy(), h.copy(), c.copy()
        F.lstm_backward(tape, p["dy"], p["dh"], p["dc"])
        for name, array in before.items():
            np.testing.assert_array_equal(p[name], array, err_msg=name)
        for now, then in zip((y, h, c), kept, strict=True):
            np.testing.assert_array_equal(now, then)

    def test_parts_of_the_gradient(self, backend):
        p = problem(18, 2, 3, 2, 3)
        whole = F.lstm_backward(forward(p, backend=backend)[2], p["dy"], p["dh"], p["dc"])
        parts = [
            F.lstm_backward(forward(p, backend=backend)[2], *arguments)
            for arguments in ((p["dy"],), (None, p["dh"]), (None, None, p["dc"]))
        ]
        for name in whole._fields[:6]:
            total = sum(getattr(part, name) for part in parts)
            np.testing.assert_allclose(total, getattr(whole, name), atol=1e-12, err_msg=name)

    @staticmethod
    def run(p, backend, **options):
        return F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], p["bias"],
                      initial_state=(p["h0"], p["c0"]), backend=backend, **options)  # fmt: skip

    @staticmethod
    def all_results(p, backend, mask):
        y, (h, c), tape = forward(p, backend=backend, mask=mask)
        return [y, h, c, *F.lstm_backward(tape, p["dy"], p["dh"], p["dc"])[:6]]


@pytest.mark.parametrize("backend", ["blas", "numpy"])
def test_empty_batch(backend):
    p = problem(19, 0, 4, 2, 3)
    y, (h, c), tape = forward(p, backend=backend)
    assert y.shape == (0, 4, 3) and h.shape == c.shape == (0, 3)
    grads = F.lstm_backward(tape, p["dy"])
    assert grads.x.shape == (0, 4, 2) and not grads.kernel.any() and not grads.bias.any()
    assert F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], lengths=[])[0].shape == (0, 4, 3)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.tolist(),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("f4").reshape(x.shape),
        lambda x: x.astype(">f4"),
        lambda x: np.broadcast_to(x, x.shape),
        lambda x: type("Own", (), {"__array__": lambda self, dtype=None, copy=None: x})(),
    ],
    ids=["list", "float16", "float64", "fortran", "strided", "unaligned", "big-endian",
         "read-only", "__array__"],
)  # fmt: skip
def test_inputs_of_any_kind(convert):
    rng = np.random.default_rng(20)
    x = rng.integers(-4, 4, (2, 3, 2)).astype("f4")
    p = problem(20, 2, 3, 2, 3, "float32")
    wanted, _ = F.lstm(x, p["kernel"], p["recurrent_kernel"], p["bias"])
    got, _ = F.lstm(convert(x), p["kernel"], p["recurrent_kernel"], p["bias"])
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == np.float32
    integers, _ = F.lstm(x.astype(np.int8), p["kernel"], p["recurrent_kernel"], p["bias"])
    np.testing.assert_array_equal(integers, wanted)


GOOD = problem(21, 2, 3, 2, 4)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"x": np.zeros((2, 3))}, ValueError, r"x: .*\(B, T, 2\).*\(2, 3\)"),
        ({"x": np.zeros((2, 3, 5))}, ValueError, r"x: .*\(B, T, 2\).*\(2, 3, 5\)"),
        ({"x": np.zeros((2, 0, 2))}, ValueError, "x: .*at least one time step"),
        ({"x": [[[1, 2]], [[1]]]}, ValueError, "x: .*ragged"),
        ({"x": np.zeros((2, 3, 2), complex)}, TypeError, "x: .*complex128"),
        ({"x": np.full((2, 3, 2), "a")}, TypeError, "x: .*numbers"),
        ({"kernel": np.zeros((2, 15))}, ValueError, r"kernel: .*\(I, 16\).*\(2, 15\)"),
        ({"kernel": np.zeros((0, 16))}, ValueError, "kernel: .*at least one input"),
        ({"recurrent_kernel": np.zeros((4, 15))}, ValueError, r"recurrent_kernel: .*\(H, 4H\)"),
        ({"recurrent_kernel": np.zeros((0, 0))}, ValueError, "recurrent_kernel: .*at least one"),
        ({"bias": np.zeros(15)}, ValueError, r"bias: .*\(16,\).*\(15,\)"),
        ({"initial_state": np.zeros((2, 4))}, ValueError, "initial_state: .*pair"),
        ({"initial_state": (np.zeros((2, 3)), None)}, ValueError,
         r"initial_state\[0\]: .*\(2, 4\)"),
        ({"initial_state": (None, np.zeros((1, 4)))}, ValueError,
         r"initial_state\[1\]: .*\(2, 4\)"),
        ({"lengths": [1]}, ValueError, r"lengths: .*\(2,\).*\(1,\)"),
        ({"lengths": [1, 4]}, ValueError, "lengths: .*0 .. 3.*4"),
        ({"lengths": [-1, 3]}, ValueError, "lengths: .*0 .. 3.*-1"),
        ({"lengths": [1.0, 2.0]}, TypeError, "lengths: .*integers.*float64"),
        ({"mask": np.ones((2, 4), bool)}, ValueError, r"mask: .*\(2, 3\).*\(2, 4\)"),
        ({"mask": np.ones((2, 3), bool), "lengths": [1, 1]}, ValueError,
         "lengths: .*beside a mask"),
        ({"recurrent_mask": np.ones((2, 3))}, ValueError, r"recurrent_mask: .*\(2, 4\).*\(2, 3\)"),
        ({"backend": "gpu"}, ValueError, "backend: .*blas.*'gpu'"),
        ({"activation": "tan"}, ValueError, "activation: .*tanh.*'tan'"),
        ({"recurrent_activation": "tan"}, ValueError, "activation: .*sigmoid.*'tan'"),
    ],
)  # fmt: skip
def test_errors(changes, error, words):
    arguments = {k: GOOD[k] for k in ("x", "kernel", "recurrent_kernel", "bias")} | changes
    for function in (F.lstm, F.lstm_forward):
        with pytest.raises(error, match=words):
            function(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dy": np.zeros((2, 3, 3))}, r"dy: .*\(2, 3, 4\).*\(2, 3, 3\)"),
        ({"dy": None, "dh": np.zeros((2, 3))}, r"dh: .*\(2, 4\).*\(2, 3\)"),
        ({"dy": None, "dc": np.zeros(4)}, r"dc: .*\(2, 4\).*\(4,\)"),
    ],
)
def test_backward_errors_leave_the_tape(arguments, words):
    _, _, tape = forward(GOOD)
    with pytest.raises(ValueError, match=words):
        F.lstm_backward(tape, **arguments)
    assert F.lstm_backward(tape, GOOD["dy"]).x.shape == (2, 3, 2)
    with pytest.raises(ValueError, match=r"tape: .*used"):
        F.lstm_backward(tape, GOOD["dy"])


class TestPacked:
    def test_equals_lstm(self):
        p = problem(22, 3, 4, 2, 5, "float32")
        packed = F.pack(p["kernel"], p["recurrent_kernel"], p["bias"])
        for options in ({}, {"lengths": [4, 0, 2]}, {"reverse": True},
                        {"initial_state": (p["h0"], p["c0"])},
                        {"mask": np.eye(3, 4, dtype=bool)}):  # fmt: skip
            y, (h, c) = packed(p["x"], **options)
            y1, (h1, c1) = F.lstm(p["x"], p["kernel"], p["recurrent_kernel"], p["bias"], **options)
            np.testing.assert_allclose(y, y1, atol=1e-6)
            np.testing.assert_allclose(h, h1, atol=1e-6)
            np.testing.assert_allclose(c, c1, atol=1e-6)

    def test_is_a_copy(self):
        p = problem(23, 1, 2, 2, 3)
        packed = F.pack(p["kernel"], p["recurrent_kernel"])
        before, _ = packed(p["x"])
        p["kernel"][:] = 0
        after, _ = packed(p["x"])
        np.testing.assert_array_equal(before, after)

    def test_errors(self):
        p = problem(24, 1, 2, 2, 3)
        with pytest.raises(ValueError, match="bias: "):
            F.pack(p["kernel"], p["recurrent_kernel"], np.zeros(3))
        with pytest.raises(ValueError, match="x: "):
            F.pack(p["kernel"], p["recurrent_kernel"])(np.zeros((2, 2)))
