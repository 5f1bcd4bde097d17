"""Linear-chain conditional random fields: against the sum over all paths, and as a layer."""

import itertools

import numpy as np
import pytest

import clstm
from clstm import functional as F
from clstm.decoding import crf_viterbi

rng = np.random.default_rng(0)


def scores(potentials):
    """All paths (K^T, T) and their scores."""
    time, tags, _ = potentials.shape
    paths = np.array(list(itertools.product(range(tags), repeat=time)))
    total = potentials[0, 0][paths[:, 0]]
    for t in range(1, time):
        total = total + potentials[t, paths[:, t - 1], paths[:, t]]
    return paths, total


@pytest.mark.parametrize("time, tags", [(1, 1), (1, 4), (4, 1), (5, 3), (3, 5)])
def test_equal_to_the_sum_over_all_paths(time, tags):
    potentials = rng.normal(size=(4, time, tags, tags)) * 3
    lengths = [time, max(1, time - 1), 1, 0]
    labels = rng.integers(0, tags, (4, time))
    loss, _ = F.crf_loss(potentials, labels, lengths=lengths)
    marginals, log_z = F.crf_marginals(potentials, lengths=lengths)
    best, best_score = crf_viterbi(potentials, lengths=lengths)
    for b, n in enumerate(lengths[:3]):
        paths, total = scores(potentials[b, :n])
        z = np.log(np.exp(total).sum())
        own = total[(paths == labels[b, :n]).all(axis=1)][0]
        p = np.exp(total - z)
        np.testing.assert_allclose([log_z[b], loss[b]], [z, z - own], rtol=1e-12, atol=1e-12)
        for t, k in np.ndindex(n, tags):
            np.testing.assert_allclose(marginals[b, t, k], p[paths[:, t] == k].sum(), atol=1e-12)
        assert best[b, :n].tolist() == paths[total.argmax()].tolist()
        np.testing.assert_allclose(best_score[b], total.max(), rtol=1e-12)
    assert loss[3] == log_z[3] == best_score[3] == 0 and (best[3] == -1).all()
    assert all((best[b, n:] == -1).all() and not marginals[b, n:].any()
               for b, n in enumerate(lengths))  # fmt: skip


def test_gradient_is_that_of_finite_differences():
    potentials = rng.normal(size=(2, 4, 3, 3))
    labels, lengths = rng.integers(0, 3, (2, 4)), [4, 2]
    _, d = F.crf_loss(potentials, labels, lengths=lengths)
    for place in np.ndindex(potentials.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = potentials.copy()
            moved[place] += step
            values.append(F.crf_loss(moved, labels, lengths=lengths)[0].sum())
        np.testing.assert_allclose(d[place], (values[0] - values[1]) / 2e-5, atol=1e-8)


def test_padding_and_the_first_row_are_never_read():
    potentials = rng.normal(size=(2, 5, 3, 3)).astype(np.float32)
    labels, lengths = rng.integers(0, 3, (2, 5)), [3, 5]
    spoiled, other = potentials.copy(), labels.copy()
    spoiled[0, 3:], spoiled[:, 0, 1:], other[0, 3:] = np.nan, np.nan, 77
    for a, b in zip(F.crf_loss(potentials, labels, lengths=lengths),
                    F.crf_loss(spoiled, other, lengths=lengths), strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(crf_viterbi(spoiled, lengths=lengths)[0],
                                  crf_viterbi(potentials, lengths=lengths)[0])  # fmt: skip


def test_the_same_bits_on_any_isa_threads_and_batch(restore):
    potentials = rng.normal(size=(40, 30, 9, 9)).astype(np.float32) * 4
    labels, lengths = rng.integers(0, 9, (40, 30)), rng.integers(0, 31, 40)
    results = []
    for isa in clstm.config.available_isas():
        for threads in (1, 2, 5):
            clstm.config.set_isa(isa)
            clstm.config.set_num_threads(threads)
            results.append([*F.crf_loss(potentials, labels, lengths=lengths),
                            *F.crf_marginals(potentials, lengths=lengths),
                            *crf_viterbi(potentials, lengths=lengths)])  # fmt: skip
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    alone = F.crf_loss(potentials[7:8, : lengths[7] or 1], labels[7:8, : lengths[7] or 1],
                       lengths=lengths[7:8])  # fmt: skip
    assert alone[0][0] == results[0][0][7]


def test_large_numbers_and_the_forbidden():
    potentials = rng.normal(size=(1, 6, 4, 4)) * 1e4
    labels = crf_viterbi(potentials)[0]
    loss, d = F.crf_loss(potentials, labels)
    assert 0 <= loss[0] < 1e-6 and np.abs(d).max() <= 1
    potentials = np.zeros((1, 3, 2, 2))
    potentials[:, 1:, 0, 1] = -np.inf  # 000, 100, 110 and 111 are left
    assert F.crf_loss(potentials, [[0, 0, 0]])[0][0] == pytest.approx(np.log(4))
    with pytest.raises(ValueError, match=r"tags: expected .*probability above 0, got \[0, 0, 1\]"):
        F.crf_loss(potentials, [[0, 0, 1]])
    potentials[:, 1] = -np.inf
    with pytest.raises(ValueError, match=r"potentials: expected a path .*none in row 0"):
        F.crf_marginals(potentials)
    assert crf_viterbi(potentials)[1][0] == -np.inf


def test_nan_makes_nan_of_its_row_alone():
    potentials = rng.normal(size=(3, 4, 2, 2))
    potentials[1, 2, 0, 1] = np.nan
    loss, d = F.crf_loss(potentials, np.zeros((3, 4), int))
    assert np.isnan(loss).tolist() == [False, True, False]
    assert np.isnan(d[1]).all() and np.isfinite(d[[0, 2]]).all()
    with pytest.raises(ValueError, match=r"potentials: expected numbers below infinity.*row 1"):
        crf_viterbi(potentials)


@pytest.mark.parametrize("change, error", [
    ({"potentials": np.zeros((2, 3, 4, 5))}, r"potentials: expected \(B, T, K, K\)"),
    ({"potentials": np.zeros((2, 3, 4))}, "potentials: expected"),
    ({"potentials": np.zeros((2, 0, 4, 4)), "tags": np.zeros((2, 0), int)}, "potentials: expected"),
    ({"tags": np.full((2, 3), 4)}, "tags: expected 0 .. 3, got 4 in row 0 at step 0"),
    ({"tags": np.full((2, 3), -1)}, "tags: expected 0 .. 3, got -1"),
    ({"tags": np.zeros((2, 4), int)}, "tags: expected shape"),
    ({"lengths": [1, 4]}, "lengths: expected 0 .. 3, got 4"),
])  # fmt: skip
def test_bad_input(change, error):
    arguments = {"potentials": np.zeros((2, 3, 4, 4)), "tags": np.zeros((2, 3), int)} | change
    with pytest.raises((ValueError, TypeError), match=error):
        F.crf_loss(arguments.pop("potentials"), arguments.pop("tags"), **arguments)
