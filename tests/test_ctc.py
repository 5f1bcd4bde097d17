"""CTC: against all alignments, finite differences and PyTorch's numbers; its bits; bad input."""

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest

from clstm import LSTM, Dense, Input, Model, Sequential, config, decoding, losses
from clstm import functional as F

load = runpy.run_path(str(Path(__file__).parent / "golden" / "golden_io.py"))["load"]
pytestmark = pytest.mark.usefixtures("restore")
CASES = load("torch_ctc.npz")


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def sequences(z, blank=0):
    """{labels: their probability}, by all alignments of one row."""
    p, found = log_softmax(z), {}
    for way in itertools.product(range(z.shape[1]), repeat=len(z)):
        labels = tuple(k for k, _ in itertools.groupby(way) if k != blank)
        probability = np.exp(sum(p[t, k] for t, k in enumerate(way)))
        found[labels] = found.get(labels, 0) + probability
    return found


def problem(B=7, T=20, K=6, L=5, dtype=np.float32, seed=0, scale=3):
    """logits, labels, steps and label lengths; the first row has no labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (B, T, K)).astype(dtype)
    labels = rng.integers(1, K, (B, L))
    lengths = rng.integers(0, L + 1, B)
    lengths[0] = 0
    steps = rng.integers(2 * L, T + 1, B)
    labels[np.arange(L) >= lengths[:, None]] = -1
    return logits, labels, steps, lengths


@pytest.mark.parametrize("blank", [0, 1, 2])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_every_label_sequence_has_the_probability_of_its_alignments(time, blank):
    z = np.random.default_rng(time).normal(0, 2, (time, 3))
    found = sequences(z, blank)
    for labels, probability in found.items():
        y = np.array([labels], int).reshape(1, -1)
        (loss,), _ = F.ctc_loss(z[None], y, blank=blank)
        assert loss == pytest.approx(-np.log(probability), rel=1e-13, abs=1e-13)
    assert sum(found.values()) == pytest.approx(1)


def test_gradients_are_those_of_finite_differences():
    logits, labels, steps, _ = problem(B=4, T=9, K=4, L=3, dtype=np.float64)
    _, d = F.ctc_loss(logits, labels, logit_lengths=steps)
    for at in np.ndindex(logits.shape):
        value, ends = logits[at], []
        for sign in (1, -1):
            logits[at] = value + sign * 1e-5
            ends.append(F.ctc_loss(logits, labels, logit_lengths=steps)[0].sum())
        logits[at] = value
        assert d[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pytorch(name, dtype):
    case = CASES[name]
    got, d = F.ctc_loss(case.logits.astype(dtype), case.labels, logit_lengths=case.steps,
                        label_lengths=case.lengths, blank=case.config["blank"])  # fmt: skip
    assert got.dtype == d.dtype == dtype
    close = {"rtol": 1e-11, "atol": 1e-11} if dtype == np.float64 else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(got, case.losses, **close)
    counted = np.arange(case.d.shape[1]) < case.steps[:, None]
    np.testing.assert_allclose(d, case.d * counted[:, :, None], **close)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_padding_may_hold_anything(dtype):
    logits, labels, steps, lengths = problem(dtype=dtype)
    expected, d = F.ctc_loss(logits, labels, logit_lengths=steps)
    logits[np.arange(20) >= steps[:, None]] = np.nan
    labels[labels == -1] = 77
    got, d_got = F.ctc_loss(logits, labels, logit_lengths=steps, label_lengths=lengths)
    assert np.array_equal(got, expected) and np.array_equal(d_got, d)
    paths, scores = decoding.ctc_beam_decode(logits, 4, logit_lengths=steps)
    assert np.isfinite(scores).all() and (paths[:, 0, 0] >= 0).all()


def everything(logits, labels, steps):
    return [*F.ctc_loss(logits, labels, logit_lengths=steps),
            *decoding.ctc_greedy_decode(logits, logit_lengths=steps),
            *decoding.ctc_beam_decode(logits, 8, top_paths=3, logit_lengths=steps)]  # fmt: skip


def test_threads_and_instruction_sets_change_no_bit():
    logits, labels, steps, _ = problem(33, 40, 19, 13)
    config.set_num_threads(1)
    expected = everything(logits, labels, steps)
    for isa, threads in itertools.product(config.available_isas(), (1, 2, 3, 5)):
        config.set_isa(isa)
        config.set_num_threads(threads)
        got = everything(logits, labels, steps)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_row_is_the_same_alone_and_in_a_batch():
    logits, labels, steps, lengths = problem(33, 40, 19, 13)
    whole = everything(logits, labels, steps)
    for row in (0, 5, 32):
        n, m = steps[row], lengths[row]
        alone = everything(logits[row : row + 1, :n], labels[row : row + 1, :m], [n])
        assert alone[0][0] == whole[0][row]
        assert np.array_equal(alone[1][0], whole[1][row, :n])
        for a, b in zip(alone[2:], whole[2:], strict=True):
            b = b[row]
            size = a.shape[-1] if a.ndim > 1 else None
            assert np.array_equal(a[0], b[..., :size] if b.ndim else b)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extreme_logits_give_finite_numbers(dtype):
    logits = np.full((1, 6, 3), -1e30, dtype)
    logits[:, :, 0] = 1e30  # blanks, for sure; but there is a label
    (loss,), d = F.ctc_loss(logits, [[1]])
    assert loss == pytest.approx(2e30, rel=1e-6) and np.isfinite(d).all()
    logits[:, :, 2] = -np.inf
    assert np.isfinite(F.ctc_loss(logits, [[1]])[1]).all()
    with pytest.raises(ValueError, match=r"labels: .*probability above 0, got \[2\] in row 0"):
        F.ctc_loss(logits, [[2]])
    (loss,), d = F.ctc_loss(logits, [[2]], zero_infinity=True)
    assert loss == 0 and not d.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_without_a_softmax_makes_its_row_nan_and_no_other(bad):
    logits, labels, steps, _ = problem()
    expected, d_expected = F.ctc_loss(logits, labels, logit_lengths=steps)
    logits[2, 3, 1] = bad
    got, d = F.ctc_loss(logits, labels, logit_lengths=steps)
    others = np.arange(7) != 2
    assert np.isnan(got[2]) and np.isnan(d[2, : steps[2]]).all() and not d[2, steps[2] :].any()
    assert np.array_equal(got[others], expected[others])
    assert np.array_equal(d[others], d_expected[others])
    for decode in (decoding.ctc_greedy_decode, decoding.ctc_beam_decode):
        with pytest.raises(ValueError, match=r"logits: expected finite numbers.*in row 2"):
            decode(logits, logit_lengths=steps)


def test_no_rows_and_no_steps():
    got, d = F.ctc_loss(np.zeros((0, 3, 2)), np.zeros((0, 2), int))
    assert got.shape == (0,) and d.shape == (0, 3, 2)
    assert decoding.ctc_greedy_decode(np.zeros((0, 3, 2)))[0].shape == (0, 0)
    got, d = F.ctc_loss(np.zeros((1, 3, 2)), [[-1]], logit_lengths=[0])
    assert got == 0 and not d.any()
    assert decoding.ctc_beam_decode(np.zeros((1, 3, 2)), logit_lengths=[0])[1] == 0


@pytest.mark.parametrize("blank", [0, 2])
def test_a_beam_that_holds_everything_finds_the_most_probable(blank):
    z = np.random.default_rng(3).normal(0, 2, (2, 5, 3))
    paths, scores = decoding.ctc_beam_decode(z, 400, top_paths=400, blank=blank)
    for row in range(2):
        found = sequences(z[row], blank)
        n = len(found)
        ways = [tuple(k for k in path if k >= 0) for path in paths[row, :n].tolist()]
        assert set(ways) == set(found) and (np.diff(scores[row, :n]) <= 0).all()
        np.testing.assert_allclose(scores[row, :n], [np.log(found[way]) for way in ways])
        assert (scores[row, n:] == -np.inf).all() and (paths[row, n:] == -1).all()


def prefix_beam(z, width):
    """The search of ctc_beam_decode with dictionaries: [(labels, log probability)], best first."""
    p, beam = log_softmax(z), {(): (0.0, -np.inf)}
    for step in p:
        after = {}

        def add(prefix, blank, label, after=after):
            old = after.get(prefix, (-np.inf, -np.inf))
            after[prefix] = np.logaddexp(old[0], blank), np.logaddexp(old[1], label)

        for prefix, (blank, label) in beam.items():
            total = np.logaddexp(blank, label)
            add(prefix, total + step[0], label + step[prefix[-1]] if prefix else -np.inf)
            for k in range(1, len(step)):
                more = blank if prefix and prefix[-1] == k else total
                add((*prefix, k), -np.inf, more + step[k])
        beam = dict(sorted(after.items(), key=lambda item: -np.logaddexp(*item[1]))[:width])
    return [(prefix, np.logaddexp(*both)) for prefix, both in beam.items()]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 20])
def test_a_narrow_beam_does_what_dictionaries_do(width):
    logits, _, steps, _ = problem(B=6, T=25, K=5, dtype=np.float64, scale=1)
    paths, scores = decoding.ctc_beam_decode(logits, width, top_paths=width, logit_lengths=steps)
    for row in range(6):
        expected = prefix_beam(logits[row, : steps[row]], width)
        assert [tuple(k for k in path if k >= 0) for path in paths[row].tolist()] == [
            prefix for prefix, _ in expected
        ]
        np.testing.assert_allclose(scores[row], [score for _, score in expected], rtol=1e-10)


def test_greedy_takes_the_best_class_of_each_step():
    best = np.array([[0, 1, 1, 0, 1, 2, 2], [2, 2, 0, 0, 2, 1, 1]])
    logits = 3.0 * (np.arange(3) == best[:, :, None])
    paths, scores = decoding.ctc_greedy_decode(logits, logit_lengths=[7, 4])
    assert paths.tolist() == [[1, 1, 2], [2, -1, -1]]
    step = 3 - np.log(np.exp(3) + 2)
    np.testing.assert_allclose(scores, [7 * step, 4 * step])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [[1, 1], [1, 2]], "logit_lengths": [2, 3]}, ValueError,
         "labels: expected some that fit into the 2 steps of row 0, got 2 that need 3"),
        ({"labels": [[1, 2], [1, 3]]}, ValueError, r"labels: expected 0 \.\. 2 .*got 3 in row 1"),
        ({"labels": [[1, 2], [0, 2]]}, ValueError, "labels: .*the blank 0, got 0 in row 1"),
        ({"labels": [[1, 2], [-2, 2]]}, ValueError, "labels: .*got -2 in row 1"),
        ({"labels": [[1, 2], [-1, 2]]}, ValueError, "labels: expected -1 only after .*in row 1"),
        ({"labels": [[1.0, 2], [1, 2]]}, TypeError, "labels: expected integers"),
        ({"labels": [[1, 2]]}, ValueError, r"labels: expected shape \(2, L\), got \(1, 2\)"),
        ({"label_lengths": [1, 3]}, ValueError, r"label_lengths: expected 0 \.\. 2, got 3"),
        ({"logit_lengths": [1, 4]}, ValueError, r"logit_lengths: expected 0 \.\. 3, got 4"),
        ({"logit_lengths": [1.5, 3]}, TypeError, "logit_lengths: expected integers"),
        ({"blank": 3}, ValueError, r"blank: expected 0 \.\. 2, a class of logits, got 3"),
        ({"blank": -1}, ValueError, "blank: expected .*got -1"),
        ({"blank": 0.0}, TypeError, "blank: expected an int"),
        ({"logits": np.zeros((2, 3))}, ValueError, "logits: expected shape"),
        ({"logits": np.zeros((2, 0, 3))}, ValueError, "logits: expected at least one step"),
        ({"logits": ["a"]}, TypeError, "logits: expected an array of numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_named(change, error, message):
    arguments = {"logits": np.zeros((2, 3, 3)), "labels": [[1, 2], [2, 1]]} | change
    with pytest.raises(error, match=message):
        F.ctc_loss(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"beam_width": 0}, ValueError, "beam_width: expected at least 1, got 0"),
        ({"beam_width": 2.0}, TypeError, "beam_width: expected an int"),
        ({"beam_width": 2**31}, ValueError, "beam_width: expected less than"),
        ({"beam_width": 2, "top_paths": 3}, ValueError, "top_paths: expected at most beam_width"),
        ({"top_paths": 0}, ValueError, "top_paths: expected at least 1"),
        ({"blank": 3}, ValueError, "blank: expected"),
    ],
)
def test_bad_arguments_of_decoding(arguments, error, message):
    with pytest.raises(error, match=message):
        decoding.ctc_beam_decode(np.zeros((2, 3, 3)), **arguments)


# ---- the loss of a model -------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_rows():
    logits, labels, _, _ = problem()
    expected, d = F.ctc_loss(logits, labels)
    value, gradient = losses.CTC().value_and_gradient(labels.astype(float)[:, :, None], logits)
    assert value == pytest.approx(expected.mean(dtype=np.float64), rel=1e-6)
    np.testing.assert_allclose(gradient, d / 7, rtol=1e-6, atol=1e-9)
    weight = np.arange(7.0)
    value, gradient = losses.CTC().value_and_gradient(labels, logits, weight)
    assert value == pytest.approx((expected * weight).sum(dtype=np.float64) / 7, rel=1e-6)
    np.testing.assert_allclose(gradient, d * weight[:, None, None] / 7, rtol=1e-5, atol=1e-8)


def test_a_mask_takes_steps_and_rows_out():
    logits, labels, _, _ = problem(T=40)
    mask = np.random.default_rng(1).random((7, 40)) < 0.7
    mask[4] = False
    counted = [0, 1, 2, 3, 5, 6]
    value, d = losses.CTC().value_and_gradient(labels, np.where(mask[:, :, None], logits, np.nan),
                                               mask=mask)  # fmt: skip
    total = 0.0
    for row in counted:
        (loss,), d_row = F.ctc_loss(logits[row][mask[row]][None], labels[row : row + 1])
        total += float(loss)
        np.testing.assert_allclose(d[row][mask[row]], d_row[0] / 6, rtol=1e-5, atol=1e-8)
    assert value == pytest.approx(total / 6, rel=1e-6)
    assert not d[~mask].any()
    only = losses.CTC().value_and_gradient(labels, logits, mask=mask.any(axis=1))[0]
    assert only == pytest.approx(F.ctc_loss(logits, labels)[0][counted].mean(), rel=1e-6)
    assert losses.CTC()(labels, logits, mask=np.zeros(7, bool)) == 0


def test_a_model_learns_to_read():
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, (64, 3))
    x = np.eye(4)[np.repeat(labels, 4, axis=1)] + rng.normal(0, 0.1, (64, 12, 4))
    for loss in ("ctc", losses.CTC()):
        model = Sequential([LSTM(16, input_shape=(None, 4), return_sequences=True), Dense(4)])
        model.compile(optimizer="adam", loss=loss)
        model.optimizer.learning_rate = 0.02
        history = model.fit(x, labels, epochs=12, batch_size=16, verbose=0).history["loss"]
        assert history[-1] < history[0] / 3
    with pytest.raises(ValueError, match="labels: expected 0"):
        model.fit(x, labels + 1, epochs=1, verbose=0)


def test_lengths_of_the_inputs_reach_the_loss():
    rng = np.random.default_rng(0)
    x, lengths = rng.normal(size=(5, 9, 2)), np.array([9, 4, 6, 5, 8])
    labels = np.array([[1, 2], [1, -1], [-1, -1], [2, 2], [2, -1]])
    inputs, steps = Input((9, 2)), Input(())
    outputs = Dense(3)(LSTM(4, return_sequences=True)(inputs, lengths=steps))
    model = Model([inputs, steps], outputs)
    model.compile(loss="ctc")
    value = model.evaluate([x, lengths], labels, verbose=0)
    expected, _ = F.ctc_loss(model.predict([x, lengths], verbose=0), labels, logit_lengths=lengths)
    assert value == pytest.approx(expected.mean(), rel=1e-6)


def test_it_can_be_saved():
    loss = losses.CTC(blank=2, zero_infinity=True)
    again = losses.get({"class_name": "CTC", "config": loss.get_config()})
    assert (again.blank, again.zero_infinity) == (2, True)


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        ([[1.5]], np.zeros((1, 3, 3)), "whole numbers"),
        ([[np.nan]], np.zeros((1, 3, 3)), "whole numbers"),
        ([[1], [1]], np.zeros((1, 3, 3)), r"y_true must be \(1, L\)"),
        ([[1]], np.zeros((1, 3)), r"y_pred must be \(B, T, K\)"),
        ([[3]], np.zeros((1, 3, 3)), "got 3 in row 0"),
    ],
)
def test_bad_labels_of_the_loss(labels, logits, message):
    for call in (losses.CTC().value_and_gradient, lambda y, p: losses.CTC().check(y, p.shape)):
        with pytest.raises(ValueError, match=message):
            call(labels, logits)


def test_bad_arguments_of_the_loss():
    for arguments, error in (({"blank": -1}, ValueError), ({"blank": 0.5}, TypeError),
                             ({"zero_infinity": 1}, TypeError)):  # fmt: skip
        with pytest.raises(error):
            losses.CTC(**arguments)
