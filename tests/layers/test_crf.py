"""The CRF layer with its loss, its metric and its decoder."""

import itertools

import numpy as np
import pytest

import clstm
from clstm import layers, losses
from clstm.decoding import crf_viterbi
from clstm.metrics import CRFAccuracy

rng = np.random.default_rng(0)


def test_the_layer_folds_its_weights_into_potentials():
    layer = layers.CRF(transition_initializer="glorot_uniform", dtype="float64")
    x = rng.normal(size=(2, 5, 3))
    mask = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 0, 0]], bool)
    y = layer(x, mask=mask)
    start, end, transitions = (layer.params[k] for k in ("start", "end", "transitions"))
    tags = rng.integers(0, 3, (2, 5))
    loss = losses.CRF().value_and_gradient(tags, y, mask=mask)[0]
    expected = []
    for b in range(2):
        steps = mask[b].nonzero()[0]
        paths = np.array(list(itertools.product(range(3), repeat=len(steps))))
        total = start[paths[:, 0]] + end[paths[:, -1]] + x[b, steps, paths].sum(axis=1)
        total = total + transitions[paths[:, :-1], paths[:, 1:]].sum(axis=1)
        own = (paths == tags[b, steps]).all(axis=1)
        expected.append(np.log(np.exp(total).sum()) - total[own][0])
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-12)
    assert (crf_viterbi(y, mask=mask)[0] == -1).tolist() == (~mask).tolist()


def test_gradients_of_the_layer(differences):
    mask = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
    differences(layers.CRF(transition_initializer="glorot_uniform", dtype="float64"),
                    rng.normal(size=(3, 5, 4)), mask)  # fmt: skip


def test_a_tagger_learns_what_depends_on_the_tag_before(tmp_path):
    """Every word is as likely under each tag; tags alternate, the first word tells the first."""
    clstm.set_seed(0)
    generator = np.random.default_rng(1)
    lengths = generator.integers(2, 9, 200)
    first = generator.integers(0, 2, 200)
    tags = (first[:, None] + np.arange(8)) % 2
    words = generator.integers(3, 6, (200, 8))
    words[:, 0] = 1 + first
    words[np.arange(8) >= lengths[:, None]] = 0
    model = clstm.Sequential([
        layers.Embedding(6, 8, mask_zero=True), layers.Dense(2), layers.CRF()])  # fmt: skip
    model.compile(clstm.optimizers.Adam(0.05), loss="crf", metrics=["crf_accuracy"])
    history = model.fit(words, tags, epochs=20, verbose=0).history
    assert history["crf_accuracy"][-1] > 0.99 and history["loss"][-1] < 0.1
    potentials = model.predict(words)
    found = crf_viterbi(potentials, lengths=lengths)[0]
    inside = np.arange(8) < lengths[:, None]
    assert (found == tags)[inside].mean() > 0.99 and (found[~inside] == -1).all()
    metric = CRFAccuracy()
    metric.update_state(tags, potentials, inside)
    assert metric.result() == pytest.approx((found == tags)[inside].mean())
    model.save(tmp_path / "tagger.safetensors")
    again = clstm.load_model(tmp_path / "tagger.safetensors")
    np.testing.assert_array_equal(again.predict(words), potentials)
    assert again.evaluate(words, tags, verbose=0) == model.evaluate(words, tags, verbose=0)
    alone = clstm.Sequential([layers.Embedding(6, 8, mask_zero=True), layers.Dense(2)])
    alone.compile(clstm.optimizers.Adam(0.05), metrics=["accuracy"],
                  loss=losses.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
    assert alone.fit(words, tags, epochs=20, verbose=0).history["accuracy"][-1] < 0.8


def test_bad_labels_of_the_loss_change_nothing():
    model = clstm.Sequential([layers.Dense(3, input_shape=(4, 2)), layers.CRF()])
    model.compile("sgd", "crf")
    before = model.get_weights()
    x = np.zeros((2, 4, 2))
    for y, error in ((np.full((2, 4), 3), "tags: expected 0 .. 2, got 3"),
                     (np.zeros((2, 5)), "y"), (np.full((2, 4), 0.5), "whole numbers")):  # fmt: skip
        with pytest.raises(ValueError, match=error):
            model.fit(x, y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
