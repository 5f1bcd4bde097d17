"""Tokens from a stream: against all sequences, against probabilities, bad input."""

import itertools

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Embedding, Input, Sequential
from clstm.decoding import beam_decode, greedy_decode, sample_decode

V, END = 4, 3


def language(logits=True):
    clstm.set_seed(2)
    m = Sequential([Input((None,)), Embedding(V, 5), LSTM(6), Dense(V)])
    for w in m.get_layer(m.layers[-1].name).params.values():
        w *= 6  # far from uniform
    if not logits:
        m.add(clstm.layers.Activation("softmax"))
    return m


def log_p(m, start, tokens):
    """Of each of the tokens, after those before."""
    z = np.stack([m.predict(np.array([[start, *tokens[:t]]]))[0] for t in range(len(tokens))])
    z = z.astype(np.float64)
    z -= np.log(np.exp(z).sum(axis=1, keepdims=True))
    return z[np.arange(len(tokens)), list(tokens)]


def endings(length):
    """All sequences of up to `length` tokens that end with END, or are as long as that."""
    for n in range(1, length + 1):
        for way in itertools.product(range(V), repeat=n):
            if END not in way[:-1] and (n == length or way[-1] == END):
                yield way


@pytest.mark.parametrize("penalty", [0, 0.6, 2])
def test_a_wide_beam_finds_the_best_of_all_sequences(penalty):
    m = language()
    for start in range(V - 1):
        scored = [(log_p(m, start, way).sum() / ((5 + len(way)) / 6) ** penalty, way)
                  for way in endings(3)]  # fmt: skip
        scored.sort(reverse=True)
        tokens, scores = beam_decode(m.stream(1), start, 3, end=END, beam_width=V**3,
                                     length_penalty=penalty, top_paths=3)  # fmt: skip
        for k in range(3):
            assert tuple(t for t in tokens[0, k] if t >= 0) == scored[k][1]
            np.testing.assert_allclose(scores[0, k], scored[k][0], atol=1e-5)


def test_greedy_takes_the_best_token_and_so_does_a_beam_of_one():
    m = language()
    tokens, scores = greedy_decode(m.stream(3), [0, 1, 2], 6, end=END)
    beam, beam_scores = beam_decode(m.stream(3), [0, 1, 2], 6, end=END, beam_width=1,
                                    length_penalty=0)  # fmt: skip
    np.testing.assert_array_equal(tokens, beam[:, 0])
    np.testing.assert_allclose(scores, beam_scores[:, 0], atol=1e-9)
    for start, row, score in zip(range(3), tokens, scores, strict=True):
        way = [t for t in row if t >= 0]
        np.testing.assert_allclose(log_p(m, start, way).sum(), score, atol=1e-5)
        for t in range(len(way)):
            assert m.predict(np.array([[start, *way[:t]]]))[0].argmax() == way[t]
        alone = greedy_decode(m.stream(1), start, 6, end=END)[0][0]
        assert [t for t in alone if t >= 0] == way


def test_without_an_end_all_rows_have_max_length():
    tokens, _ = greedy_decode(language().stream(2), 0, 5)
    assert tokens.shape == (2, 5) and (tokens >= 0).all()
    tokens, scores = beam_decode(language().stream(2), 0, 5, beam_width=3, top_paths=3)
    assert tokens.shape == (2, 3, 5) and (tokens >= 0).all() and np.isfinite(scores).all()


def test_a_prompt_is_read_first():
    m = language()
    tokens, _ = greedy_decode(m.stream(1), [[0, 2, 1]], 1)
    assert tokens[0, 0] == m.predict(np.array([[0, 2, 1]]))[0].argmax()


def test_draws_have_the_probabilities():
    m, n = language(), 4000
    p = np.exp([log_p(m, 0, [k])[0] for k in range(V)])
    for heat in (1.0, 2.0):
        wanted = p ** (1 / heat) / (p ** (1 / heat)).sum() * n
        tokens, scores = sample_decode(m.stream(n), 0, 1, temperature=heat, seed=1)
        found = np.bincount(tokens[:, 0], minlength=V)
        assert ((found - wanted) ** 2 / wanted).sum() < 16.3  # chi squared, 3 of freedom: 0.001
        np.testing.assert_allclose(scores, np.log(p[tokens[:, 0]]), atol=1e-5)


def test_draws_of_the_best_alone():
    m, n = language(), 500
    p = np.exp([log_p(m, 0, [k])[0] for k in range(V)])
    order = np.argsort(-p)
    tokens, _ = sample_decode(m.stream(n), 0, 1, top_k=2, seed=0)
    assert set(tokens[:, 0]) == set(order[:2])
    share = (p[order[0]] + 1e-3, p[order[0]] - 1e-3)
    assert set(sample_decode(m.stream(n), 0, 1, top_p=share[1], seed=0)[0][:, 0]) == {order[0]}
    assert set(sample_decode(m.stream(n), 0, 1, top_p=share[0], seed=0)[0][:, 0]) == set(order[:2])
    assert set(sample_decode(m.stream(n), 0, 1, temperature=1e-3, seed=0)[0][:, 0]) == {order[0]}


def test_a_seed_says_what_is_drawn():
    m = language()
    first = sample_decode(m.stream(5), 0, 8, seed=3)[0]
    np.testing.assert_array_equal(sample_decode(m.stream(5), 0, 8, seed=3)[0], first)
    assert (sample_decode(m.stream(5), 0, 8, seed=4)[0] != first).any()
    clstm.set_seed(1)
    first = sample_decode(m.stream(5), 0, 8)[0]
    clstm.set_seed(1)
    np.testing.assert_array_equal(sample_decode(m.stream(5), 0, 8)[0], first)


def test_probabilities_are_taken_too():
    for decode in (greedy_decode, beam_decode):
        a = decode(language().stream(2), 1, 4, end=END)
        b = decode(language(logits=False).stream(2), 1, 4, end=END, from_logits=False)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1], atol=1e-5)


@pytest.mark.parametrize("decode, options, error", [
    (beam_decode, {"beam_width": 0}, "beam_width: expected"),
    (beam_decode, {"beam_width": 2, "top_paths": 3}, "top_paths: expected at most beam_width, 2"),
    (beam_decode, {"length_penalty": -1}, "length_penalty: expected"),
    (sample_decode, {"temperature": 0}, "temperature: expected"),
    (sample_decode, {"top_p": 1.5}, "top_p: expected"),
    (sample_decode, {"top_p": 0}, "top_p: expected"),
    (sample_decode, {"top_k": 0}, "top_k: expected"),
    (sample_decode, {"top_k": V + 1}, f"top_k: expected at most {V}"),
    (greedy_decode, {"end": V}, f"end: expected 0 .. {V - 1}"),
    (greedy_decode, {"end": 1.5}, "end: expected"),
    (greedy_decode, {"max_length": 0}, "max_length: expected"),
    (greedy_decode, {"start": [0, 1, 2]}, "start: expected"),
    (greedy_decode, {"start": np.zeros((2, 0), int)}, "start: expected"),
    (greedy_decode, {"start": 0.5}, "start: expected integers"),
    (greedy_decode, {"start": V}, "expected 0 .. "),
    (greedy_decode, {"from_logits": 1}, "from_logits: expected"),
])  # fmt: skip
def test_bad_input(decode, options, error):
    arguments = {"start": 0, "max_length": 3, **options}
    with pytest.raises((ValueError, TypeError), match=error):
        decode(language().stream(2), arguments.pop("start"), arguments.pop("max_length"),
               **arguments)  # fmt: skip


def test_nan_is_an_error():
    m = language()
    m.layers[-1].params["bias"][1] = np.nan
    with pytest.raises(ValueError, match="stream: expected a model that gives logits, got NaN"):
        greedy_decode(m.stream(2), 0, 3)
    with pytest.raises(TypeError, match="stream: expected"):
        greedy_decode(m, 0, 3)
