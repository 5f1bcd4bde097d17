"""The native backend: the same bits however it is run, and good manners in a process."""

import ctypes
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Sequential, config
from clstm import functional as F
from clstm._kernels import _gemm

VECTOR_ISAS = [isa for isa in config.available_isas() if isa != "scalar"]
pytestmark = [
    pytest.mark.usefixtures("restore"),
    pytest.mark.skipif(
        not VECTOR_ISAS, reason="this CPU has no instruction set with native kernels"
    ),
    # Python 3.12 and later warn of any fork of a process with threads, and a team is threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
THREADS = [1, 2, 3, 5, 8]
SHAPES = [(1, 3, 5, 1), (3, 7, 65, 17), (13, 5, 33, 48), (33, 4, 10, 100), (2, 150, 16, 64)]


def problem(shape, seed=0):
    """x, weights, bias, (h0, c0), dy in float32."""
    B, T, I, H = shape
    rng = np.random.default_rng(seed)
    make = lambda *size: rng.normal(size=size).astype(np.float32)  # noqa: E731
    scale = np.float32(H**-0.5)
    return (make(B, T, I), make(I, 4 * H) * scale, make(H, 4 * H) * scale, make(4 * H),
            (make(B, H), make(B, H)), make(B, T, H))  # fmt: skip


def options(name, shape, seed=1):
    B, T, _, H = shape
    rng = np.random.default_rng(seed)
    return {
        "dense": {},
        "lengths": {"lengths": rng.integers(0, T + 1, B)},
        "mask-reverse": {"mask": rng.random((B, T)) < 0.6, "reverse": True},
        "recurrent-mask": {"recurrent_mask": rng.random((B, H), np.float32)},
    }[name]


def run(shape, name="dense", backend="native"):
    """All results of a forward and a backward run, one after the other."""
    x, W, U, b, state, dy = problem(shape)
    y, s, tape = F.lstm_forward(x, W, U, b, initial_state=state, backend=backend,
                                **options(name, shape))  # fmt: skip
    grads = F.lstm_backward(tape, dy, dh=state[1], dc=state[0])
    return [y.copy(), *s, *grads[:6]]


def same(one, two):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


OPTIONS = ["dense", "lengths", "mask-reverse", "recurrent-mask"]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape, name):
    for got, want in zip(run(shape, name), run(shape, name, "numpy"), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * np.abs(want).max(initial=1))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_and_instruction_sets_change_no_bit(shape, name):
    config.set_num_threads(1)
    expected = run(shape, name)
    for isa in VECTOR_ISAS:
        config.set_isa(isa)
        for threads in THREADS:
            config.set_num_threads(threads)
            assert same(run(shape, name), expected), (isa, threads)


@pytest.mark.parametrize("groups", ["rows", "units"])
def test_how_a_team_is_divided_changes_no_bit(groups, monkeypatch):
    from clstm import _native_backend

    shape = (40, 6, 20, 70)
    config.set_num_threads(1)
    expected = run(shape, "lengths")
    limit = 1 << 30 if groups == "rows" else 0
    monkeypatch.setattr(_native_backend, "GRAIN", 1)
    monkeypatch.setattr(_native_backend, "STEP_GRAIN", 1)
    monkeypatch.setattr(_native_backend, "ROWS_UNITS", limit)
    for threads in THREADS:
        config.set_num_threads(threads)
        assert same(run(shape, "lengths"), expected), threads


def test_a_row_is_the_same_alone_and_anywhere_in_a_batch():
    x, W, U, b, (h, c), _ = problem((37, 9, 21, 40))
    whole, (h_all, c_all) = F.lstm(x, W, U, b, initial_state=(h, c))
    rng = np.random.default_rng(3)
    for size in (1, 2, 5, 13, 36):
        rows = rng.permutation(37)[:size]
        y, (h_some, c_some) = F.lstm(x[rows], W, U, b, initial_state=(h[rows], c[rows]))
        assert same([y, h_some, c_some], [whole[rows], h_all[rows], c_all[rows]])


def test_what_stands_in_the_padding_does_not_matter():
    shape = (6, 11, 7, 33)
    x, W, U, b, state, dy = problem(shape)
    lengths = np.array([0, 11, 3, 7, 1, 10])
    results = []
    for filling in (0.0, np.nan, np.inf):
        padded, d_padded = x.copy(), dy.copy()
        for row, length in enumerate(lengths):
            padded[row, length:], d_padded[row, length:] = filling, filling
        y, s, tape = F.lstm_forward(padded, W, U, b, initial_state=state, lengths=lengths)
        results.append([y.copy(), *s, *F.lstm_backward(tape, d_padded)[:6]])
    assert same(results[0], results[1])
    assert same(results[0], results[2])
    assert not any(np.isnan(a).any() for a in results[1])


def test_alignment_does_not_matter():
    x, W, U, b, state, _ = problem((5, 6, 9, 35))
    expected = F.lstm(x, W, U, b, initial_state=state)[0]
    for offset in (1, 3, 7):
        moved = []
        for array in (x, W, U, b):
            room = np.empty(array.size + offset, np.float32)[offset:].reshape(array.shape)
            room[...] = array
            moved.append(room)
        assert same([F.lstm(*moved, initial_state=state)[0]], [expected])


def test_long_calls_in_stretches_change_no_bit(monkeypatch):
    """A call of many stretches equals the steps run one by one with the state handed on."""
    x, W, U, b, (h, c), _ = problem((3, 60, 8, 24))
    whole, final = F.lstm(x, W, U, b, initial_state=(h, c))
    for t in range(60):
        y, (h, c) = F.lstm(x[:, t : t + 1], W, U, b, initial_state=(h, c))
        assert same([y], [whole[:, t : t + 1]])
    assert same([h, c], final)


def train(steps=50):
    clstm.set_seed(7)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 10, 10)), rng.integers(0, 2, 160)
    model = Sequential([LSTM(64, input_shape=(10, 10), return_sequences=True, dropout=0.2),
                        LSTM(32, recurrent_dropout=0.1),
                        Dense(1, activation="sigmoid")])  # fmt: skip
    model.compile("adam", "binary_crossentropy")
    model.fit(x, y, epochs=steps // 5, batch_size=32, verbose=0)
    return model.get_weights()


def test_fifty_training_steps_are_the_same_on_any_number_of_threads():
    config.set_num_threads(1)
    expected = train()
    for isa in VECTOR_ISAS:
        config.set_isa(isa)
        for threads in THREADS[1:]:
            config.set_num_threads(threads)
            assert same(train(), expected), (isa, threads)


def test_matmul_agrees_and_keeps_its_bits():
    from clstm._kernels._gemm import matmul

    rng = np.random.default_rng(0)
    for M, K, N in [(1, 1, 1), (17, 33, 3), (33, 17, 65), (3, 2000, 17), (200, 5, 130)]:
        for ta in (False, True):
            for tb in (False, True):
                a = rng.normal(size=(K, M) if ta else (M, K)).astype(np.float32)
                b = rng.normal(size=(N, K) if tb else (K, N)).astype(np.float32)
                results = []
                for threads in (1, 3):
                    config.set_num_threads(threads)
                    out = np.ones((M, N), np.float32)
                    matmul(a, b, out, ta, tb, True)
                    results.append(out)
                want = 1 + (a.T if ta else a).astype(float) @ (b.T if tb else b)
                np.testing.assert_allclose(results[0], want, rtol=1e-4, atol=1e-3)
                assert same(results[:1], results[1:])


def test_batched_products_have_the_bits_of_each_alone():
    from clstm._kernels._gemm import batched, matmul

    rng = np.random.default_rng(0)
    for B, G, M, K, N in [(1, 1, 1, 1, 1), (3, 2, 17, 33, 3), (2, 5, 1, 70, 65), (2, 1, 3, 0, 4)]:
        a = rng.normal(size=(B, M, G, K)).astype("f4").transpose(0, 2, 1, 3)
        b = rng.normal(size=(B, G, N, K)).astype("f4").swapaxes(2, 3)
        want, got = np.empty((B, G, M, N), np.float32), np.empty((B, G, M, N), np.float32)
        for k in np.ndindex(B, G):
            matmul(np.ascontiguousarray(a[k]), np.ascontiguousarray(b[k]), want[k])
        for isa in VECTOR_ISAS:
            config.set_isa(isa)
            for threads in THREADS:
                config.set_num_threads(threads)
                got[:] = np.nan
                batched(a, b, got)
                np.testing.assert_array_equal(got, want)
    ones = [np.ones((B, 1, *shape), "f4") for B, shape in [(2, (3, 5)), (2, (6, 4)), (1, (5, 4))]]
    with pytest.raises(ValueError, match=r"expected \(3, K\) and \(K, 4\), got .3, 5. and .6, 4."):
        batched(ones[0], ones[1], np.ones((2, 1, 3, 4), "f4"))
    with pytest.raises(ValueError, match="expected as many products as out has"):
        batched(ones[0], ones[2], np.ones((2, 1, 3, 4), "f4"))


def test_a_packed_matrix_has_the_products_bits_and_a_copy():
    from clstm._kernels._gemm import PackedMatrix, matmul

    rng = np.random.default_rng(0)
    for M, K, N in [(1, 1, 1), (1, 512, 257), (7, 33, 65), (20, 200, 15), (3, 0, 4), (0, 3, 4)]:
        a, b = rng.normal(size=(M, K)).astype("f4"), rng.normal(size=(K, N)).astype("f4")
        out = np.empty((M, N), np.float32)
        matmul(a, b, out)
        for isa in VECTOR_ISAS:
            config.set_isa(isa)
            for threads in THREADS:
                config.set_num_threads(threads)
                for given, transposed in ((b.copy(), False), (b.T.copy(), True)):
                    packed = PackedMatrix(given, transposed)
                    given[...] = np.nan
                    np.testing.assert_array_equal(packed.times(a), out)
    with pytest.raises(ValueError, match="a: expected 3 columns, got 4"):
        PackedMatrix(np.ones((3, 2), np.float32)).times(np.ones((1, 4), np.float32))


@pytest.mark.parametrize("I, H, B", [(5, 3, 1), (64, 128, 2), (40, 33, 16)])
def test_a_step_of_projected_rows_has_the_bits_of_a_step(I, H, B):
    from clstm._kernels._packed import PackedWeights

    rng = np.random.default_rng(0)
    W, U, b = (rng.normal(size=s).astype("f4") for s in ((I, 4 * H), (H, 4 * H), (4 * H,)))
    table, rows = rng.normal(size=(7, I)).astype("f4"), rng.integers(0, 7, (B, 1))
    state = tuple(rng.normal(size=(B, H)).astype("f4") for _ in "hc")
    for bias in (b, None):
        packed = PackedWeights(W, U, bias)
        expected = packed.step(table[rows], state)
        for isa in VECTOR_ISAS:
            config.set_isa(isa)
            for threads in THREADS:
                config.set_num_threads(threads)
                got = packed.step_of_rows(packed.project(table), rows, state)
                assert same([got[0], *got[1]], [expected[0], *expected[1]])
    projected = packed.project(table)
    for wrong in (rows + 7, rows - 8, rows.astype("i4"), rows[:, 0], rows.astype("f4")):
        assert packed.step_of_rows(projected, wrong, state) is None
    assert packed.step_of_rows(projected[:, 1:], rows, state) is None
    assert packed.step_of_rows(projected, rows[:0], state) is None
    with pytest.raises(ValueError, match=f"x: expected {I} columns"):
        packed.project(np.ones((2, I + 1), np.float32))


# --- manners -----------------------------------------------------------------------------------


def _child(queue, shape):
    queue.put([a.tobytes() for a in run(shape)])


def test_forked_children_work_on_all_threads():
    config.set_num_threads(2)
    shape = (16, 30, 32, 64)
    expected = [a.tobytes() for a in run(shape)]  # the parent's team exists now
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        queue = context.Queue()
        process = context.Process(target=_child, args=(queue, shape))
        process.start()
        assert queue.get(timeout=60) == expected
        process.join(60)
        assert process.exitcode == 0


def test_a_fork_while_another_thread_is_inside_a_call():
    config.set_num_threads(2)
    shape = (16, 30, 32, 64)
    expected = run(shape)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            run(shape)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(0 if same(run(shape), expected) else 1)
            end = time.monotonic() + 60
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    break
                if time.monotonic() > end:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    pytest.fail("a forked child hangs")
                time.sleep(0.002)
            assert status == 0
    finally:
        stop.set()
        worker.join()


def test_one_handle_shared_by_many_threads():
    x, W, U, b, state, _ = problem((4, 20, 16, 48))
    packed = F.pack(W, U, b)
    expected = packed(x, state)[0].tobytes()
    mismatches = []

    def serve():
        for _ in range(20):
            if packed(x, state)[0].tobytes() != expected:
                mismatches.append(1)

    threads = [threading.Thread(target=serve) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not mismatches


def test_a_packed_handle_keeps_its_weights():
    x, W, U, b, state, _ = problem((3, 4, 5, 20))
    packed = F.pack(W, U, b)
    expected = packed(x, state)[0]
    for weight in (W, U, b):
        weight[...] = 0
    assert same([packed(x, state)[0]], [expected])


def test_ctrl_c_is_answered_inside_a_long_call():
    x, W, U, b, _, _ = problem((32, 3000, 64, 256))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(50):
            F.lstm(x, W, U, b)
    timer.join()
    assert np.isfinite(F.lstm(x[:, :5], W, U, b)[0]).all()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "fegetround"), reason="no fenv in this libc")
def test_the_floating_point_mode_is_restored():
    tiny = np.float32(1e-40)
    run((8, 20, 16, 32))
    assert float(np.float32(tiny) * np.float32(0.5)) != 0.0  # subnormals are still numbers here


def test_subnormal_states_decay_to_zero_without_harm():
    _, W, U, b, _, _ = problem((2, 1, 4, 16))
    x = np.full((2, 400, 4), 1e-40, np.float32)
    y, (_, c) = F.lstm(x, np.zeros_like(W), np.zeros_like(U), np.full_like(b, -5.0),
                       initial_state=(h0 := np.full((2, 16), 1e-38, np.float32), h0))  # fmt: skip
    assert np.isfinite(y).all()
    assert np.isfinite(c).all()


# --- what another instruction set, or a caller, could break --------------------------------------


def test_a_tape_outlives_a_change_of_the_instruction_set():
    x, W, U, b, state, dy = problem((4, 5, 6, 8))  # 8 units: half of a unit block does not exist
    results = []
    for before in VECTOR_ISAS:
        for after in config.available_isas():
            config.set_isa(before)
            _, _, tape = F.lstm_forward(x, W, U, b, initial_state=state)
            config.set_isa(after)
            results.append(F.lstm_backward(tape, dy)[:6])
    for grads in results[1:]:
        assert same(grads, results[0])


def test_packing_works_on_every_instruction_set():
    x, W, U, b, state, _ = problem((2, 3, 5, 20))
    for isa in config.available_isas():
        config.set_isa(isa)
        y, _ = F.pack(W, U, b)(x, state)
        np.testing.assert_allclose(y, F.lstm(x, W, U, b, initial_state=state)[0], rtol=1e-5)


@pytest.mark.parametrize("backend", ["native", "blas", "numpy"])
def test_gradients_are_added_only_to_arrays_that_fit(backend):
    x, W, U, b, state, dy = problem((2, 3, 5, 20))
    _, _, tape = F.lstm_forward(x, W, U, b, initial_state=state, backend=backend)
    good = [np.ones_like(w) for w in (W, U, b)]
    bad = [
        [np.zeros((1, 1), np.float32), *good[1:]],
        [good[0], good[1].astype(np.float64), good[2]],
        [good[0].T.copy().T, *good[1:]],
        good[:2],
    ]
    for into in bad:
        with pytest.raises(ValueError, match="into"):
            F.lstm_backward(tape, dy, into=into)
    grads = F.lstm_backward(tape, dy, into=good, need_dx=False)  # the tape is still whole
    assert grads.x is None
    assert not any((g == 1).all() for g in good)


@pytest.mark.parametrize("every", [1, 300, 600])
@pytest.mark.parametrize(
    "options", ["dense", "ragged", "resets", "reverse", "norm", "zoneout", "projection"]
)
def test_checkpoints_change_no_bit(every, options):
    rng = np.random.default_rng(21)
    B, T, I, H = 3, 700, 4, 20

    def array(*shape):
        return (rng.normal(size=shape) * 0.3).astype(np.float32)

    x, W, U, b = array(B, T, I), array(I, 4 * H), array(H, 4 * H), array(4 * H)
    keywords = {
        "dense": {},
        "ragged": {"lengths": [200, 700, 0], "recurrent_mask": array(B, H)},
        "resets": {"resets": rng.random((B, T)) < 0.01, "peephole": array(3, H)},
        "reverse": {"reverse": True, "mask": rng.random((B, T)) < 0.9},
        "norm": {"layer_norm": "joint", "norm_gain": array(2, 4 * H), "cell_norm": array(2, H),
                 "peephole": array(3, H), "lengths": [200, 700, 0]},
        "zoneout": {"lengths": [200, 700, 0], "zoneout_h": rng.random((B, T, H)), "zoneout_c": 0.3},
        "projection": {"projection": array(H, 7), "proj_clip": 0.2, "recurrent_mask": array(B, 7)},
    }[options]
    P = 7 if options == "projection" else H
    U = U[:P]
    keywords["initial_state"] = array(B, P), array(B, H)
    dy, dh, dc = array(B, T, P), array(B, P), array(B, H)
    runs = []
    for checkpoint_every in (None, every):
        y, state, tape = F.lstm_forward(x, W, U, b, backend="native",
                                        checkpoint_every=checkpoint_every, **keywords)  # fmt: skip
        assert (checkpoint_every is None) == (tape.saved.segments is None)
        if checkpoint_every:
            assert len(tape.saved.segments) > (every == 1) and tape.saved.kept is None
        grads = F.lstm_backward(tape, dy, dh, dc)
        runs.append([a.tobytes() for a in (y, *state, *grads) if a is not None])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("shape", [(1, 300, 70), (5, 40, 64), (6, 33, 17), (40, 3000, 900)])
def test_products_of_few_rows_and_of_many_columns(shape):
    """Few rows read the second matrix as it is, many columns are packed in stripes."""
    rows, depth, columns = shape
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=s).astype(np.float32) for s in ((rows, depth), (depth, columns)))
    out = rng.normal(size=(rows, columns)).astype(np.float32)
    wanted = a.astype(np.float64) @ b
    for accumulate in (True, False):
        kept = out.copy() if accumulate else 0
        _gemm.matmul(a, b, out, accumulate=accumulate)
        np.testing.assert_allclose(out, wanted + kept, atol=1e-5 * depth)
    whole = np.empty((rows + 20, columns), np.float32)
    _gemm.matmul(np.concatenate([a, a[:1].repeat(20, axis=0)]), b, whole)
    _gemm.matmul(a, b, out)
    np.testing.assert_array_equal(out, whole[:rows])
