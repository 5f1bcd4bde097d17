"""No room is a MemoryError with everything as it was; a size that no machine has is an error."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm import functional as F

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")

LIMITED = """
import json, resource, sys, threading
import numpy as np
import clstm
from clstm import functional as F

clstm.config.set_num_threads(2)
backend, ragged = sys.argv[1], sys.argv[2] == "ragged"
clstm.config.set_backend(backend)
rng = np.random.default_rng(0)
make = lambda *size: rng.normal(size=size).astype(np.float32)
x, W, U, b, dy = make(64, 100, 64), make(64, 384), make(96, 384), make(384), make(64, 100, 96)
lengths = rng.integers(50, 101, 64) if ragged else None

def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

def flat(value):
    if isinstance(value, np.ndarray):
        return [value.tobytes()]
    return [part for v in value if v is not None for part in flat(v)]

def errors(call, state, expected):
    \"\"\"How often `call` fails before there is room for it; then it gives what is expected.\"\"\"
    before, failed = flat(state()), 0
    for room in range(0, 1 << 27, 1 << 18):
        [bytes(100_000) for _ in range(16)]  # room for small arrays: see `environment` below
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (size() + room, limits[1]))
        try:
            result = call()
        except MemoryError:
            result = None
            failed += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        if result is not None:
            assert flat(result) == flat(expected)
            return failed
        assert flat(state()) == before
    raise AssertionError("no room in 128 MiB")

def forward():
    return F.lstm_forward(x, W, U, b, lengths=lengths)

def given():
    return x, W, U, b, dy

def check():
    y, state, tape = forward()
    grads = F.lstm_backward(tape, dy)
    failed = {}
    infer = lambda: F.lstm(x, W, U, b, lengths=lengths)  # BLAS may round it unlike lstm_forward
    failed["lstm"] = errors(infer, given, infer())
    failed["lstm_forward"] = errors(lambda: forward()[:2], given, (y, state))
    tape = forward()[2]
    into = [np.ones_like(W), np.ones_like(U), np.ones_like(b)]
    sums = [np.ones_like(W), np.ones_like(U), np.ones_like(b)]
    summed = F.lstm_backward(forward()[2], dy, into=sums)
    failed["lstm_backward"] = errors(lambda: F.lstm_backward(tape, dy, into=into),
                                     lambda: (given(), into), summed)

    def model():
        clstm.set_seed(1)
        m = clstm.Sequential([clstm.LSTM(96, input_shape=(100, 64)), clstm.Dense(1)])
        m.compile("adam", "mse")
        m.train_on_batch(x, dy[:, 0, :1])
        return m

    def weights(m):
        return m.get_weights(), list(m.optimizer.slots.values()), np.array(m.optimizer.iterations)

    def fit(m):
        m.fit(x, dy[:, 0, :1], batch_size=64, shuffle=False, verbose=0)
        return weights(m)

    first, second = model(), model()
    assert flat(weights(first)) == flat(weights(second))
    expected = fit(second)
    failed["fit"] = errors(lambda: fit(first), lambda: weights(first), expected)
    print(json.dumps(failed))

# a thread's stack is mapped as a whole; the main one's would have to grow, and could not
worker = threading.Thread(target=check)
worker.start()
worker.join()
"""


@linux
@pytest.mark.parametrize("shape", ["full", "ragged"])
@pytest.mark.parametrize("backend", ["native", "blas"])
def test_a_failed_allocation_changes_nothing(backend, shape):
    """Every call is tried with more and more room, so that each of its allocations fails once.

    Not the numpy backend: the OpenBLAS inside NumPy ends the process when its own malloc fails.
    """
    # Large arrays are mapped anew: neither what was freed before nor a thread's own heap is room.
    # Small ones have the heap: NumPy 2.4 crashes where a ufunc has no room for its cast buffers.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TOP_PAD_": "1048576",
                   "MALLOC_TRIM_THRESHOLD_": "2097152", "MALLOC_ARENA_MAX": "1"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", LIMITED, backend, shape], env=environment,
                          capture_output=True, text=True, cwd="/", timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout, done.stderr
    failed = json.loads(done.stdout)
    assert set(failed) == {"lstm", "lstm_forward", "lstm_backward", "fit"}
    assert all(failed.values()), failed


# --- sizes -------------------------------------------------------------------------------------


def claim(*shape):
    """A float32 array in C order that claims to be of this shape and has a page of memory."""

    class Claim:
        memory = np.zeros(4096, np.uint8)
        __array_interface__ = {  # noqa: RUF012 - read by NumPy
            "shape": shape, "typestr": "<f4", "version": 3,
            "data": (memory.ctypes.data, False),
        }  # fmt: skip

    array = np.asarray(owner := Claim())
    assert array.flags.c_contiguous
    _owners.append(owner)
    return array


_owners: list = []


def test_a_product_of_sizes_that_wraps_is_refused():
    """65,536 unit blocks of 2^48 rows are 2^70 gates, 0 in 64 bits: nothing may be touched."""
    if not any(isa != "scalar" for isa in clstm.config.available_isas()):
        pytest.skip("this CPU has no instruction set with native kernels")
    from clstm._kernels import _native_forward
    from clstm._kernels._gemm import matmul

    units = 1 << 20
    index = claim(1 << 49).view(np.intp)
    one = np.ones(1, np.intp)
    state, x, small = claim(1, units), claim(1, 4), claim(4, 4)
    with pytest.raises(MemoryError, match=f"65536 x {1 << 48} x 64"):
        _native_forward.forward(x, small, small, None, True, state, state, *[None] * 4, small,
                                one, one, index, np.array([0, 1]), 1, True)  # fmt: skip
    with pytest.raises((MemoryError, ValueError)):  # panels of 2^60 floats, 2^66 of padding
        matmul(claim(1, 1 << 60), claim(1 << 60, 1), claim(1, 1))


@pytest.mark.parametrize("units", [2**31, 2**40, 2**62, 2**63, 10**30])
@pytest.mark.parametrize("layer", ["lstm", "dense", "embedding"])
def test_absurd_layers(layer, units):
    make = {
        "lstm": lambda: [clstm.Input((5, 3)), clstm.LSTM(units)],
        "dense": lambda: [clstm.Input((2**20,)), clstm.Dense(units)],
        "embedding": lambda: [clstm.Input((5,)), clstm.Embedding(units, 2**20)],
    }[layer]
    with pytest.raises((ValueError, MemoryError)):
        clstm.Sequential(make())


@pytest.mark.parametrize("backend", [None, "native", "blas", "numpy"])
@pytest.mark.parametrize("shape", [(2**40, 5, 3), (2, 2**40, 3), (2**29, 2**29, 3)])
def test_absurd_inputs(shape, backend):
    rng = np.random.default_rng(0)
    W, U = rng.normal(size=(3, 32)).astype("f4"), rng.normal(size=(8, 32)).astype("f4")
    expected = F.lstm(np.ones((2, 5, 3), "f4"), W, U, backend=backend)[0]
    for dtype in (np.int8, np.float32, np.float64):
        x = np.broadcast_to(dtype(1), shape)
        for call in (F.lstm, F.lstm_forward, F.pack(W, U)):
            with pytest.raises((ValueError, MemoryError)):
                call(x, backend=backend) if isinstance(call, F.Packed) else call(
                    x, W, U, backend=backend)  # fmt: skip
    again = F.lstm(np.ones((2, 5, 3), "f4"), W, U, backend=backend)[0]
    assert again.tobytes() == expected.tobytes()


def test_absurd_weights():
    x = np.ones((1, 2, 3), "f4")
    for W, U in [((3, 2**42), (1, 4)), ((3, 4), (2**28, 2**30)), ((2**58, 4), (1, 4))]:
        kernel, recurrent = (np.broadcast_to(np.float32(0), shape) for shape in (W, U))
        for call in (F.lstm, F.lstm_forward, lambda x, *weights: F.pack(*weights)):
            with pytest.raises((ValueError, MemoryError)):
                call(x, kernel, recurrent)


def test_a_model_asked_for_absurd_inputs_stays_as_it_was():
    model = clstm.Sequential([clstm.Input((None, 3)), clstm.LSTM(8), clstm.Dense(1)])
    model.compile("adam", "mse")
    before = [w.tobytes() for w in model.get_weights()]
    y, long = np.ones((2, 1)), np.broadcast_to(np.float32(1), (2, 2**42, 3))
    many = np.broadcast_to(np.float32(1), (2**42, 5, 3))
    for call in (lambda: model.fit(long, y, verbose=0), lambda: model.train_on_batch(long, y),
                 lambda: model.evaluate(long, y), lambda: model.predict(long),
                 lambda: model.predict(many)):  # fmt: skip
        with pytest.raises((ValueError, MemoryError)):
            call()
    assert [w.tobytes() for w in model.get_weights()] == before
    assert model.predict(np.ones((2, 5, 3))).shape == (2, 1)
