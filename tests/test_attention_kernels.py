"""The native attention: the reference's numbers, and the same bits however it is shared out."""

import itertools

import numpy as np
import pytest

from clstm import _attention as attention
from clstm import config
from clstm._attention import Places, Rows

VECTOR_ISAS = [isa for isa in config.available_isas() if isa != "scalar"]
# B, Tq, Tk, heads, features of q and of v
SHAPES = [(3, 7, 9, 2, 5, 3), (2, 100, 100, 4, 64, 64), (1, 1, 1, 1, 1, 1), (2, 50, 131, 3, 17, 33),
          (2, 65, 16, 1, 16, 48), (0, 3, 3, 1, 2, 2), (2, 3, 0, 1, 2, 2)]  # fmt: skip

pytestmark = pytest.mark.skipif(not VECTOR_ISAS, reason="no vector instruction set")


@pytest.fixture(autouse=True)
def settings():
    threads, isa = config.get_num_threads(), config.get_isa()
    yield
    config.set_num_threads(threads)
    config.set_isa(isa)


def problem(shape, causal, masked):
    B, Tq, Tk, N, D, V = shape
    rng = np.random.default_rng(0)
    masks = [rng.random((B, Tq)) < 0.7, rng.random((B, Tk)) < 0.6] if masked else [None, None]
    if masked and B > 1:
        masks[1][0] = False
    queries, keys = Rows.of(masks[0], B, Tq), Rows.of(masks[1], B, Tk)
    places = Places.of(queries, keys, causal)
    P, K, count = queries.starts[-1], keys.starts[-1], N * places.weight_starts[-1]
    sizes = [(P, N * D), (K, N * D), (K, N * V), (P, N * V), (count,)]
    return places, [rng.normal(size=s).astype("f4") for s in sizes], rng.random(count).astype("f4")


def run(places, heads, q, k, v, dy, d_weights, factors):
    y, weights = attention.forward(q, k, v, heads, 0.3, places, factors, True)
    return [y, weights, *attention.backward(q, k, v, heads, 0.3, places, factors, dy, d_weights)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_bits_and_the_references_numbers(shape, causal, masked):
    places, arrays, factors = problem(shape, causal, masked)
    wanted = run(places, shape[3], *(a.astype("f8") for a in (*arrays, factors)))
    expected = None
    for isa, threads in itertools.product(VECTOR_ISAS, (1, 2, 3, 5)):
        config.set_isa(isa)
        config.set_num_threads(threads)
        got = run(places, shape[3], *arrays, factors)
        if expected is None:
            expected = [a.tobytes() for a in got]
            for a, b in zip(got, wanted, strict=True):
                bound = 3e-5 * max(1, np.abs(b).max(initial=0))
                np.testing.assert_allclose(a, b, rtol=0, atol=bound)
        assert [a.tobytes() for a in got] == expected, (isa, threads)
    dense = places.dense(got[1], shape[3])
    np.testing.assert_array_equal(places.packed(dense), got[1])


@pytest.mark.parametrize("causal", [False, True])
def test_a_row_alone_is_that_of_the_batch(causal):
    shape = (3, 70, 70, 2, 8, 8)
    places, arrays, factors = problem(shape, causal, True)
    whole = run(places, 2, *arrays, factors)
    q_starts, k_starts, weight_starts = places.layout
    for b in range(3):
        i, j = slice(*q_starts[b : b + 2]), slice(*k_starts[b : b + 2])
        w = slice(*(2 * weight_starts[b : b + 2]))
        Q, K = int(np.diff(q_starts)[b]), int(np.diff(k_starts)[b])
        limits = np.ascontiguousarray(places.limits[i])
        alone = Places(Rows.of(None, 1, Q), Rows.of(None, 1, K), limits,
                       np.array([0, Q * K], np.intp))  # fmt: skip
        q, k, v, dy, d_weights = arrays
        got = run(alone, 2, q[i], k[j], v[j], dy[i], d_weights[w], factors[w])
        for part, all_rows, at in zip(got, whole, (i, w, i, j, j), strict=True):
            np.testing.assert_array_equal(part, all_rows[at])


def test_scores_of_any_size():
    """Neither overflow nor NaN; weights too small to be normal are 0."""
    places = Places.of(Rows.of(None, 1, 1), Rows.of(None, 1, 3), False)
    k = np.array([[1e4], [-1e4], [1e4 - 1]], "f4")
    y, w = attention.forward(np.ones((1, 1), "f4"), k, k, 1, 1.0, places, None, True)
    np.testing.assert_allclose(w, [1 / (1 + np.exp(-1)), 0, 1 / (1 + np.e)], rtol=1e-5)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(B, 1, *rest) for B, _, *rest in SHAPES])
def test_a_memory_has_the_bits_of_the_whole_and_a_copy(shape, masked):
    B, _, Tk, N, D, V = shape
    rng = np.random.default_rng(0)
    keys = Rows.of(rng.random((B, Tk)) < 0.6 if masked else None, B, Tk)
    places = Places.of(Rows.of(None, B, 1), keys, False)
    K = keys.starts[-1]
    q, k, v = (rng.normal(size=s).astype("f4") for s in ((B, N * D), (K, N * D), (K, N * V)))
    expected, _ = attention.forward(q, k, v, N, 0.3, places)
    for isa, threads in itertools.product(VECTOR_ISAS, (1, 2, 5)):
        config.set_isa(isa)
        config.set_num_threads(threads)
        given = k.copy(), v.copy()
        recall = attention.memory(*given, N, 0.3, places)
        for array in given:
            array[...] = np.nan
        np.testing.assert_array_equal(recall(q), expected)
    config.set_isa("scalar")
    np.testing.assert_allclose(attention.memory(k, v, N, 0.3, places)(q), expected, atol=1e-5)


def test_a_memory_takes_a_query_for_each_row():
    places = Places.of(Rows.of(None, 2, 1), Rows.of(None, 2, 3), False)
    k = np.ones((6, 4), np.float32)
    recall = attention.memory(k, k, 2, 1.0, places)
    for wrong in ((3, 4), (2, 5)):
        with pytest.raises(ValueError, match=r"q: expected shape \(2, 4\), got "):
            recall(np.ones(wrong, np.float32))
