"""Pictures of a history and of a model: what is drawn, and without matplotlib an error."""

import builtins

import numpy as np
import pytest

from clstm import LSTM, Attention, Concatenate, Dense, Input, Masking, Model, Sequential
from clstm.metrics import F1Score

X = np.random.default_rng(0).normal(size=(40, 4, 3))
Y = X.sum(axis=(1, 2)) > 0


def classifier():
    model = Sequential([LSTM(4, input_shape=(4, 3)), Dense(1, activation="sigmoid")])
    model.compile("adam", "bce", metrics=["accuracy", F1Score(average=None)])
    return model


def test_curves_of_training_and_validation(tmp_path):
    pytest.importorskip("matplotlib")
    history = classifier().fit(X, Y, epochs=6, verbose=0, validation_split=0.5, validation_freq=3)
    figure = history.plot(tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes()[:4] == b"\x89PNG"
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "accuracy", "f1_score"]
    training, validation = figure.axes[0].get_lines()
    assert training.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert validation.get_xdata().tolist() == [3, 6]
    np.testing.assert_array_equal(training.get_ydata(), history.history["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), history.history["val_loss"])


def test_a_history_of_nothing():
    pytest.importorskip("matplotlib")
    from clstm.callbacks import History

    assert History().plot().axes


def graph():
    source, target = Input((None, 3), name="source"), Input((None, 2), name="target")
    encoded, h, c = LSTM(4, return_sequences=True, return_state=True)(Masking()(source))
    decoded = LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    seen = Attention()(decoded, encoded)
    return Model([source, target], Dense(2)(Concatenate()([decoded, seen])))


def test_every_layer_has_a_box_and_every_input_an_arrow(tmp_path):
    pytest.importorskip("matplotlib")
    model = graph()
    figure = model.plot(tmp_path / "model.svg")
    assert (tmp_path / "model.svg").stat().st_size > 5000
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    for layer in (*model.layers, *(s.node.layer for s in model.inputs)):
        assert texts.count(layer.name) == 1
    assert "(·, ·, 4)   112 weights" in texts  # the decoder
    assert len(axes.patches) == 8
    assert texts.count("") == sum(len(node.sources()) for node in model._nodes)  # arrows


def test_boxes_do_not_overlap():
    pytest.importorskip("matplotlib")
    figure = graph().plot()
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="build"):
        Sequential([Dense(1)]).plot()


@pytest.mark.parametrize("plot", [lambda m: m.plot(), lambda m: m.fit(X, Y, verbose=0).plot()])
def test_without_matplotlib_the_error_names_the_extra(monkeypatch, plot):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"clstm-cpu\[plot\]"):
        plot(classifier())
