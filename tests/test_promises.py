"""The promises of README.md, one test or more for each."""

import ast
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Masking, Sequential, config
from clstm import functional as F

BACKENDS = [b for b in config.BACKENDS if b != "native" or config.get_isa() != "scalar"]
FAST_ISAS = [isa for isa in config.available_isas() if isa != "scalar"]


@contextmanager
def setting(threads=None, isa=None, backend=None):
    before = config.get_num_threads(), config.get_isa(), config.get_backend()
    try:
        if threads:
            config.set_num_threads(threads)
        if isa:
            config.set_isa(isa)
        if backend:
            config.set_backend(backend)
        yield
    finally:
        config.set_num_threads(before[0])
        config.set_isa(before[1])
        config.set_backend(before[2])


def weights(features, units, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (features, 4 * units), (units, 4 * units), (4 * units,)
    return [rng.normal(scale=0.3, size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_masked_steps_give_0_and_the_final_state_is_the_last_valid_one(backend, reverse):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 9, 3)).astype(np.float32)
    h0, c0 = rng.normal(size=(2, 5, 4)).astype(np.float32)
    parameters = weights(3, 4)
    mask = rng.random((5, 9)) < 0.6
    mask[3] = False  # a row without a valid step
    y, (h, c) = F.lstm(x, *parameters, initial_state=(h0, c0), mask=mask, reverse=reverse,
                       backend=backend)  # fmt: skip
    assert (y[~mask] == 0).all()
    for row in range(5):
        if not mask[row].any():
            assert np.array_equal(h[row], h0[row]) and np.array_equal(c[row], c0[row])
            continue
        # the same steps without the masked ones between
        alone, (h1, c1) = F.lstm(x[row : row + 1, mask[row]], *parameters, reverse=reverse,
                                 initial_state=(h0[row : row + 1], c0[row : row + 1]),
                                 backend=backend)  # fmt: skip
        np.testing.assert_allclose(y[row, mask[row]], alone[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(h[row], h1[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(c[row], c1[0], rtol=1e-5, atol=1e-6)
        last = np.flatnonzero(mask[row])[0 if reverse else -1]
        assert np.array_equal(h[row], y[row, last])


def test_masking_layer_and_lengths_do_the_same():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 6, 2)).astype(np.float32)
    lengths = np.array([6, 1, 3])
    x[np.arange(6) >= lengths[:, None]] = 0
    layer = LSTM(4, return_sequences=True)
    by_lengths = layer(x, lengths=lengths)
    model = Sequential([Masking(input_shape=(6, 2)), layer])
    np.testing.assert_array_equal(model.predict(x, verbose=0), by_lengths)
    assert (by_lengths[1, 1:] == 0).all()


def train(seed, x, y):
    clstm.set_seed(seed)
    model = Sequential([LSTM(20, input_shape=x.shape[1:], return_sequences=True, dropout=0.2)])
    model.add(LSTM(9, recurrent_dropout=0.2))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    return model


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_seed_trains_the_same_model(backend):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(70, 6, 5))
    y = x.mean(axis=(1, 2)) > 0
    with setting(backend=backend):
        first, again, other = (train(seed, x, y).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def run_native(batch, time, features, units):
    """Outputs and gradients of a native run with lengths and a state, as one list of arrays."""
    rng = np.random.default_rng(batch * units)
    x = rng.normal(size=(batch, time, features)).astype(np.float32)
    state = rng.normal(size=(2, batch, units)).astype(np.float32)
    y, (h, c), tape = F.lstm_forward(
        x, *weights(features, units), initial_state=tuple(state), backend="native",
        lengths=rng.integers(0, time + 1, batch),
    )  # fmt: skip
    dy = rng.normal(size=y.shape).astype(np.float32)
    grads = F.lstm_backward(tape, dy, dh=state[0], dc=state[1])
    return [y, h, c, *grads[:6]]


@pytest.mark.skipif(not FAST_ISAS, reason="the native backend needs AVX2 or AVX-512")
@pytest.mark.parametrize("shape", [(1, 5, 3, 17), (7, 4, 2, 33), (33, 6, 5, 150), (40, 20, 30, 64)])
def test_the_native_lstm_gives_the_same_bits_everywhere(shape):
    with setting(threads=1, isa=FAST_ISAS[0]):
        expected = run_native(*shape)
    for isa in FAST_ISAS:
        for threads in (1, 2, 3, 5):
            with setting(threads=threads, isa=isa):
                for name, a, b in zip(
                    ("y", "h", "c", "dx", "dW", "dU", "db", "dh0", "dc0"),
                    run_native(*shape), expected, strict=True,
                ):  # fmt: skip
                    assert np.array_equal(a, b), f"{name} differs with {threads} threads, {isa}"


@pytest.mark.skipif(not FAST_ISAS, reason="the native backend needs AVX2 or AVX-512")
@pytest.mark.parametrize("units", [7, 64, 150])
def test_the_native_lstm_gives_a_sequence_the_same_bits_alone_and_in_a_batch(units):
    x = np.random.default_rng(4).normal(size=(37, 6, 5)).astype(np.float32)
    parameters = weights(5, units)
    y, (h, c) = F.lstm(x, *parameters, backend="native")
    for row in (0, 5, 36):
        alone, (h1, c1) = F.lstm(x[row : row + 1], *parameters, backend="native")
        assert np.array_equal(alone[0], y[row])
        assert np.array_equal(h1[0], h[row]) and np.array_equal(c1[0], c[row])


def test_a_saved_model_predicts_the_same_bits(tmp_path):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 6, 5))
    model = train(0, x, x.mean(axis=(1, 2)) > 0)
    model.save(tmp_path / "model.safetensors")
    again = clstm.load_model(tmp_path / "model.safetensors")
    assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_nothing_unpickles_or_evaluates():
    """No import of pickle and its like, no eval or exec, and NumPy's loader never may unpickle."""
    unsafe_modules = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    unsafe_calls = {"eval", "exec", "compile", "__import__"}
    folder = Path(clstm.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not unsafe_modules & {a.name.split(".")[0] for a in node.names}, where
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe_modules, where
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    assert node.func.id not in unsafe_calls, where
                for word in node.keywords:
                    if word.arg == "allow_pickle":
                        assert getattr(word.value, "value", True) is False, where


def test_a_model_file_is_tensors_and_json(tmp_path):
    model = Sequential([LSTM(3, input_shape=(4, 2)), Dense(1)])
    model.save(tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    json.loads(header.pop("__metadata__")["clstm"])
    assert sum(np.prod(t["shape"]) * 4 for t in header.values()) == len(data) - 8 - size


def test_import_brings_in_only_numpy(tmp_path):
    code = (
        "import sys, clstm; heavy = {'scipy', 'matplotlib', 'tqdm', 'safetensors', 'pandas'}; "
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
