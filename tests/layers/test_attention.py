"""Attention: the scores' equations, finite differences, masks, Keras's numbers."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import Attention, Dense, Input, Masking, Model, load_model

D = {"dtype": "float64"}
GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {n: c for n, c in runpy.run_path(str(GOLDEN / "golden_io.py"))["load"](
    "keras_attention.npz").items() if c.config["layer"] != "MultiHeadAttention"}  # fmt: skip
QUERY_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
KEY_MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
NO_KEY = KEY_MASK & np.array([[True], [False], [True]])
SCORES = [{}, {"scale": 0.3}, {"use_scale": True, "scale": 0.5}, {"score": "general"},
          {"score": "general", "use_scale": True}, {"score": "additive"},
          {"score": "additive", "units": 3}]  # fmt: skip


def features(options):
    """Of query, value, key."""
    return (6, 5, 4) if "units" in options or options.get("score") == "general" else (6, 5, 6)


def arrays(rng, options):
    return [rng.normal(size=(3, t, f)) for t, f in zip((4, 5, 5), features(options), strict=True)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_keras(name, dtype):
    case = CASES[name]
    args = {"use_scale": case.config["args"]["use_scale"]}
    if case.config["layer"] == "AdditiveAttention":
        args = {"score": "additive"}
    layer = Attention(causal=case.config["causal"], return_attention_scores=True, dtype=dtype,
                      **args)  # fmt: skip
    x = [a.astype(dtype) for a in case.list("x")]
    layer.ensure_built([a.shape for a in x] if len(x) > 1 else x[0].shape)
    layer.set_weights([np.reshape(w, -1) for w in case.list("w")])
    mask = [QUERY_MASK, KEY_MASK, None] if case.config["masked"] else None
    (y, scores), tape = layer.forward(x if len(x) > 1 else x[0], True, mask)
    dx = layer.backward(tape, [case.dy.astype(dtype), None])
    tolerance = {"float64": {"rtol": 1e-9, "atol": 1e-11}, "float32": {"rtol": 1e-4, "atol": 1e-4}}
    tolerance = tolerance[dtype]
    valid = QUERY_MASK if mask else np.ones(y.shape[:2], bool)
    assert not y[~valid].any()
    np.testing.assert_allclose(y[valid], case.y[valid], **tolerance)
    np.testing.assert_allclose(scores[valid], case.scores[valid], **tolerance)
    for got, want in zip(dx if len(x) > 1 else [dx], case.list("g_x"), strict=True):
        np.testing.assert_allclose(got, want, **tolerance)
    for got, want in zip(layer.grads.values(), case.list("g_w"), strict=True):
        np.testing.assert_allclose(got, np.reshape(want, -1), **tolerance)


@pytest.mark.parametrize("masks", [None, [QUERY_MASK, KEY_MASK, None], [None, NO_KEY, KEY_MASK]])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("options", SCORES)
def test_gradients(differences, rng, options, scores, causal, masks):
    layer = Attention(causal=causal, return_attention_scores=scores, **options, **D)
    differences(layer, arrays(rng, options), masks)


@pytest.mark.parametrize("options", SCORES)
def test_gradients_of_one_input_and_of_two(differences, rng, options):
    x = rng.normal(size=(3, 4, 5))
    differences(Attention(**options, **D), x, QUERY_MASK)
    differences(Attention(**options, **D), [x, rng.normal(size=(3, 5, 5))], [None, KEY_MASK])


@pytest.mark.parametrize("options", [{}, {"score": "additive"}])
def test_gradients_with_dropout(differences, rng, options):
    layer = Attention(dropout=0.4, return_attention_scores=True, **options, **D)
    differences(layer, arrays(rng, options), [None, KEY_MASK, None], training=True,
                before=lambda: clstm.set_seed(3))  # fmt: skip


def test_the_scores_are_their_equations(rng):
    for options in SCORES:
        layer = Attention(**options, **D)
        q, v, k = arrays(rng, options)
        y = layer([q, v, k])
        p = {name: 1.0 if value is None else value for name, value in layer.params.items()}
        if options.get("score") == "additive":
            a, b = q @ p.get("query_kernel", np.eye(6)), k @ p.get("key_kernel", np.eye(k.shape[2]))
            z = np.tanh(a[:, :, None] + b[:, None]) @ p["scale"]
        else:
            z = (q @ p.get("kernel", np.eye(6))) @ k.swapaxes(1, 2)
            z *= options.get("scale", 1) * p.get("scale", 1)
        w = np.exp(z)
        w /= w.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(y, w @ v, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", SCORES)
def test_padding_reaches_nothing(rng, options, dtype):
    """Whatever stands at masked positions; a row without a key gives zeros."""
    layer = Attention(return_attention_scores=True, dtype=dtype, **options)
    x, masks = arrays(rng, options), [QUERY_MASK, NO_KEY, None]
    dy = rng.normal(size=(3, 4, 5)).astype(dtype)
    layer(x)
    results = []
    for filling in (0.0, np.nan, np.inf):
        x[0][~QUERY_MASK] = x[1][~NO_KEY] = x[2][~NO_KEY] = dy[~QUERY_MASK] = filling
        for gradient in layer.grads.values():
            gradient[...] = 0
        (y, scores), tape = layer.forward(x, True, masks)
        results.append([y, scores, *layer.backward(tape, [dy, None]),
                        *(g.copy() for g in layer.grads.values())])  # fmt: skip
    y, scores, dq, dv, dk = results[0][:5]
    assert not y[1].any() and not scores[1].any() and not dq[1].any() and y[0].any()
    assert not scores.swapaxes(1, 2)[~NO_KEY].any()
    assert not dv[~NO_KEY].any() and not dk[~NO_KEY].any() and not dq[~QUERY_MASK].any()
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_causal_rows_do_not_see_what_comes(rng):
    layer = Attention("general", causal=True, **D)
    x = rng.normal(size=(2, 6, 3))
    y = layer(x)
    np.testing.assert_allclose(layer(x[:, :4]), y[:, :4], rtol=1e-12)
    np.testing.assert_allclose(y[:, 0], x[:, 0], rtol=1e-12)


def test_ways_to_call(rng):
    layer = Attention()
    q, v = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    y = layer([q, v])
    assert y.shape == (2, 3, 4) and y.dtype == np.float32
    np.testing.assert_array_equal(layer(q, v), y)
    np.testing.assert_array_equal(layer(q, v, v), y)
    np.testing.assert_array_equal(layer([q, v, v]), y)
    np.testing.assert_array_equal(layer(q), layer(q, q))
    np.testing.assert_array_equal(layer(q.tolist()), layer(q))
    assert layer(q[:0]).shape == (0, 3, 4) and layer(q, v[:, :0]).shape == (2, 3, 4)
    assert not layer(q, v[:, :0]).any()


def test_masks_flow_through_a_model(rng):
    """The value's mask hides its steps, the query's goes on."""
    q, v = Input((4, 6)), Input((5, 6))
    y, scores = Attention(return_attention_scores=True)(Masking()(q), Masking()(v))
    model = Model([q, v], [y, scores])
    a, b = rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 5, 6))
    a[~QUERY_MASK] = b[~KEY_MASK] = 0
    outputs, masks, _, _ = model._executor.forward([a.astype("f4"), b.astype("f4")])
    np.testing.assert_array_equal(masks[0], QUERY_MASK)
    assert masks[1] is None
    assert not outputs[1].swapaxes(1, 2)[~KEY_MASK].any() and not outputs[0][~QUERY_MASK].any()
    np.testing.assert_array_equal(outputs[0], model([a, b])[0])


def test_a_model_is_saved_and_loaded(tmp_path, rng):
    q, v = Input((4, 6)), Input((None, 3))
    model = Model([q, v], Dense(2)(Attention("additive", units=5, causal=True)([q, v])))
    x = [rng.normal(size=(3, 4, 6)), rng.normal(size=(3, 5, 3))]
    model.save(tmp_path / "model.clstm")
    np.testing.assert_array_equal(load_model(tmp_path / "model.clstm")(x), model(x))


@pytest.mark.parametrize(
    ("error", "match", "make"),
    [
        (ValueError, "score: expected one of dot", lambda x: Attention("cosine")),
        (ValueError, "scale: expected", lambda x: Attention(scale=0)),
        (ValueError, "scale, use_scale", lambda x: Attention("additive", use_scale=True)),
        (ValueError, "units: expected None", lambda x: Attention(units=3)),
        (TypeError, "causal: expected", lambda x: Attention(causal=1)),
        (ValueError, "dropout: expected", lambda x: Attention(dropout=1)),
        (ValueError, "expected the query's 4 features", lambda x: Attention()(x, x[..., :3])),
        (ValueError, "one batch size", lambda x: Attention()(x, x[:1])),
        (ValueError, "expected 3 time steps", lambda x: Attention()(x, x, x[:, :2])),
        (ValueError, "expected .query, value.", lambda x: Attention()([x] * 4)),
        (ValueError, "query of .*expected .batch", lambda x: Attention()(x[0])),
        (ValueError, "value: expected one", lambda x: Attention()(x, key=x)),
        (ValueError, "value: expected None", lambda x: Attention()([x, x], x)),
        (ValueError, "list of 2 masks", lambda x: Attention()(x, x, mask=np.ones((2, 3), bool))),
        (ValueError, "2 masks, one for", lambda x: Attention()(x, x, mask=[None])),
        (ValueError, "mask: expected shape", lambda x: Attention()(x, mask=np.ones((2, 4), bool))),
    ],
)
def test_bad_input(error, match, make):
    with pytest.raises(error, match=match):
        make(np.ones((2, 3, 4)))


def test_features_that_changed():
    layer = Attention("general")
    layer(np.ones((2, 3, 4)), np.ones((2, 3, 5)))
    with pytest.raises(ValueError, match=r"value of .*expected 5 features"):
        layer(np.ones((2, 3, 4)))
