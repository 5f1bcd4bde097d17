"""compile, fit, evaluate, predict, and batch by batch."""

import re
from typing import ClassVar

import numpy as np
import pytest

import clstm
from clstm import LSTM, Concatenate, Dense, Dropout, Embedding, Input, Model, Sequential
from clstm.callbacks import Callback, History
from clstm.constraints import MaxNorm
from clstm.losses import MeanSquaredError
from clstm.optimizers import SGD, Adam
from clstm.regularizers import L2

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 5, 3)).astype("f4")
Y = (X.sum(axis=(1, 2)) > 0).astype("f4")


def model(loss="binary_crossentropy", optimizer="adam", units=1, last="sigmoid", **options):
    clstm.set_seed(1)
    made = Sequential([Input((5, 3)), LSTM(4), Dense(units, activation=last)])
    made.compile(optimizer, loss, **options)
    return made


def linear(optimizer=None, loss="mse", **options):
    """y = k x + b of one feature, with weights that start at 0."""
    made = Sequential([Input((1,)), Dense(1, kernel_initializer="zeros")])
    made.compile(optimizer or SGD(0.1), loss, **options)
    return made


def same_weights(one, two):
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


class Seen(Callback):
    """The rows of x that each batch was trained on, as numbers, and the calls."""

    def __init__(self):
        self.calls, self.logs = [], []


for hook in clstm.callbacks.base.HOOKS:

    def record(self, *arguments, hook=hook, **named):
        self.calls.append(hook)
        self.logs.append(arguments)

    setattr(Seen, hook, record)


class TestFit:
    def test_the_reference_program(self):
        clstm.set_seed(0)
        made = Sequential()
        made.add(LSTM(64, input_shape=(10, 10), return_sequences=True))
        made.add(LSTM(32))
        made.add(Dense(1, activation="sigmoid"))
        made.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
        x = np.random.default_rng(1).normal(size=(64, 10, 10))
        y = (x[:, :, 0].sum(axis=1) > 0).astype(int)
        history = made.fit(x, y, epochs=10, batch_size=32, verbose=0)
        assert isinstance(history, History) and made.history is history
        assert history.history.keys() == {"loss", "accuracy"} and history.epoch == [*range(10)]
        assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]

    @pytest.mark.parametrize(
        "convert",
        [
            lambda a: a.tolist(), lambda a: a.astype("f8"), lambda a: a.astype(np.float16),
            lambda a: a.astype(np.int16), lambda a: np.asfortranarray(a), lambda a: a[::-1][::-1],
            lambda a: np.broadcast_to(a, a.shape), lambda a: [a],
            lambda a: type("Own", (), {"__array__": lambda self, dtype=None, copy=None: a})(),
        ],
        ids=["list", "float64", "float16", "int", "fortran", "strided", "read-only", "in a list",
             "__array__"],
    )  # fmt: skip
    def test_data_of_any_kind(self, convert):
        x, y = np.round(X * 3), Y
        wanted, got = model(), model()
        wanted.fit(x, y, epochs=2, verbose=0, shuffle=False)
        got.fit(convert(x), convert(y), epochs=2, verbose=0, shuffle=False)
        assert same_weights(got.get_weights(), wanted.get_weights())
        np.testing.assert_array_equal(got.predict(convert(x)), wanted.predict(x))

    def test_the_seed_decides_everything(self):
        runs = []
        for _ in range(2):
            clstm.set_seed(7)
            made = Sequential([Input((5, 3)), LSTM(4, dropout=0.2, recurrent_dropout=0.2),
                               Dropout(0.2), Dense(1)])  # fmt: skip
            made.compile("adam", "mse")
            losses = made.fit(X, Y, epochs=3, verbose=0, batch_size=8).history["loss"]
            runs.append((losses, made.get_weights()))
        assert runs[0][0] == runs[1][0] and same_weights(runs[0][1], runs[1][1])

    def test_validation_split_takes_the_last_rows_before_shuffling(self):
        made = model(metrics=["accuracy"])
        history = made.fit(X, Y, validation_split=0.3, verbose=0, epochs=2, batch_size=10).history
        assert history.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
        loss, accuracy = made.evaluate(X[35:], Y[35:], batch_size=10)
        assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
        assert history["val_accuracy"][-1] == pytest.approx(accuracy)
        other = model()
        other.fit(X[:35], Y[:35], validation_data=(X[35:], Y[35:]), verbose=0, epochs=2,
                  batch_size=10)  # fmt: skip
        assert same_weights(made.get_weights(), other.get_weights())

    def test_validation_sees_no_class_weights(self):
        made = linear(loss="mse")
        y = np.ones((10, 1))
        history = made.fit(np.ones((10, 1)), y, validation_split=0.5, class_weight={1: 100.0},
                           epochs=1, batch_size=5, verbose=0).history  # fmt: skip
        assert history["loss"] == [100.0]
        assert history["val_loss"][0] == pytest.approx(made.evaluate([[1]], [[1]]), rel=1e-6)

    def test_validation_weights_and_frequency(self):
        made = linear(weighted_metrics=["mae"])
        data = ([[1], [1]], [[1], [3]], [1, 0])
        history = made.fit([[1]], [[1]], validation_data=data, validation_freq=2, epochs=5,
                           verbose=0).history  # fmt: skip
        assert len(history["loss"]) == 5 and len(history["val_loss"]) == 2
        listed = made.fit([[1]], [[1]], validation_data=data, validation_freq=[1, 4], epochs=5,
                          verbose=0)  # fmt: skip
        assert len(listed.history["val_mae"]) == 2
        assert history["val_mae"][0] == pytest.approx(np.sqrt(history["val_loss"][0] * 2), rel=1e-5)

    def test_initial_epoch(self):
        history = linear().fit([[1]], [[1]], epochs=5, initial_epoch=3, verbose=0)
        assert history.epoch == [3, 4]
        assert linear().fit([[1]], [[1]], epochs=2, initial_epoch=2, verbose=0).history == {}

    def test_shuffle_draws_anew(self):
        orders = []

        class Rows(clstm.losses.MeanSquaredError):
            def _terms(self, t, p):
                orders.append(t.ravel().tolist())
                return super()._terms(t, p)

        made = linear(loss=Rows())
        x = np.arange(12.0)[:, None] / 12
        made.fit(x, x, batch_size=12, epochs=2, verbose=0)
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == sorted(x.astype("f4").ravel().tolist())
        orders.clear()
        made.fit(x, x, batch_size=12, epochs=1, verbose=0, shuffle=False)
        assert orders[0] == x.astype("f4").ravel().tolist()

    def test_weights_of_rows_and_classes(self):
        """sample_weight multiplies, as do class weights; the divisor stays, as in Keras."""
        x, y = np.ones((4, 1)), np.array([[0.0], [1], [1], [2]])
        base = {"x": x, "y": y, "verbose": 0, "batch_size": 4}
        by_row = linear()
        loss = by_row.fit(**base, sample_weight=[1, 2, 2, 3]).history["loss"][0]
        assert loss == pytest.approx((2 + 2 + 3 * 4) / 4)
        by_class = linear()
        by_class.fit(**base, class_weight={1: 2, 2: 3.0})
        assert same_weights(by_row.get_weights(), by_class.get_weights())
        both = linear()
        loss = both.fit(**base, class_weight={1: 2}, sample_weight=[9, 1, 0, 1]).history["loss"][0]
        assert loss == pytest.approx((2 + 0 + 4) / 4)

    @pytest.mark.parametrize("one_hot", [False, True])
    def test_class_weights_of_several_classes(self, one_hot):
        labels = np.arange(50) % 3
        y = np.eye(3)[labels] if one_hot else labels
        kind = "" if one_hot else "sparse_"
        runs = []
        for options in ({"class_weight": {0: 2.0, 2: 0.5}},
                        {"sample_weight": np.array([2.0, 1, 0.5])[labels]}):  # fmt: skip
            made = model(f"{kind}categorical_crossentropy", units=3, last="softmax")
            made.fit(X, y, verbose=0, shuffle=False, **options)
            runs.append(made.get_weights())
        assert same_weights(*runs)

    def test_weights_of_steps(self):
        made = Sequential([Input((3, 1)), Dense(1, kernel_initializer="zeros")])
        made.compile("sgd", "mse", weighted_metrics=["mae"])
        y = np.arange(6.0).reshape(2, 3, 1)
        w = np.array([[1, 0, 2], [0, 3, 0]])
        loss, mae = made.evaluate(np.ones((2, 3, 1)), y, sample_weight=w)
        assert loss == pytest.approx((2 * 4 + 3 * 16) / 6)
        assert mae == pytest.approx((2 * 2 + 3 * 4) / 6)

    def test_epoch_loss_is_the_mean_over_rows(self):
        made = linear(SGD(1e-30))
        y = np.array([[1.0], [2], [3], [4], [5]])
        loss = made.fit(np.zeros((5, 1)), y, batch_size=2, verbose=0).history["loss"][0]
        assert loss == pytest.approx(11)

    def test_steps_per_epoch_goes_on_through_arrays(self):
        seen = []

        class Rows(MeanSquaredError):
            def _terms(self, t, p):
                seen.append(t.ravel().astype(int).tolist())
                return super()._terms(t, p)

        made = linear(SGD(1e-9), Rows())
        x = np.arange(5.0)[:, None]
        made.fit(x, x, batch_size=2, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0)
        assert seen == [[0, 1], [2, 3], [4], [0, 1], [2, 3], [4]]
        seen.clear()
        made.fit(x, x, batch_size=2, steps_per_epoch=5, shuffle=False, verbose=0)
        assert seen == [[0, 1], [2, 3], [4], [0, 1], [2, 3]]
        seen.clear()
        made.fit(x, x, batch_size=2, steps_per_epoch=1, epochs=2, shuffle=False, verbose=0,
                 validation_split=0.4, validation_steps=1, validation_batch_size=1)  # fmt: skip
        assert seen == [[0, 1], [3], [2], [3]]

    def test_stop_training(self):
        class Stop(Callback):
            def on_train_batch_end(self, batch, logs=None):
                self.model.stop_training = batch == 1

        seen = Seen()
        history = model().fit(X, Y, epochs=5, batch_size=10, verbose=0, callbacks=[Stop(), seen])
        assert history.epoch == [0] and seen.calls.count("on_train_batch_begin") == 2
        assert seen.calls[-2:] == ["on_epoch_end", "on_train_end"]

    def test_unequal_last_batch_and_batch_larger_than_data(self):
        for size in (1, 7, 50, 1000):
            history = model().fit(X, Y, batch_size=size, verbose=0).history["loss"]
            assert np.isfinite(history).all()


class TestIterables:
    @staticmethod
    def batches(count=None):
        k = 0
        while count is None or k < count:
            yield X[k % 5 * 10 : k % 5 * 10 + 10], Y[k % 5 * 10 : k % 5 * 10 + 10]
            k += 1

    def test_a_generator_equals_arrays(self):
        wanted, got = model(metrics=["accuracy"]), model(metrics=["accuracy"])
        one = wanted.fit(X, Y, batch_size=10, epochs=2, shuffle=False, verbose=0)
        two = got.fit(self.batches(), steps_per_epoch=5, epochs=2, verbose=0)
        assert one.history == two.history
        assert same_weights(got.get_weights(), wanted.get_weights())
        assert got.evaluate(self.batches(5)) == wanted.evaluate(X, Y, batch_size=10)
        assert got.evaluate(self.batches(), steps=5) == wanted.evaluate(X, Y, batch_size=10)
        np.testing.assert_array_equal(got.predict(self.batches(5)), wanted.predict(X))
        np.testing.assert_array_equal(got.predict(b[0] for b in self.batches(5)),
                                      wanted.predict(X))  # fmt: skip

    def test_an_epoch_is_the_iterable(self):
        class Five:
            def __iter__(self):
                return TestIterables.batches(5)

        wanted, got, parts = model(), model(), model()
        wanted.fit(X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0,
                   validation_data=(X, Y), validation_batch_size=10)  # fmt: skip
        history = got.fit(Five(), epochs=3, verbose=0, validation_data=Five())
        assert history.history["val_loss"] == wanted.history.history["val_loss"]
        assert same_weights(got.get_weights(), wanted.get_weights())
        parts.fit(Five(), epochs=5, steps_per_epoch=3, verbose=0)  # 15 batches, anew after 5
        assert same_weights(parts.get_weights(), wanted.get_weights())

    def test_weights_and_unbuilt_models(self):
        made = Sequential([LSTM(4), Dense(1, activation="sigmoid")])
        made.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        made.fit(((x, y, np.ones(10)) for x, y in self.batches(3)), verbose=0)
        assert made.optimizer.iterations == 3

    def test_a_generator_that_ends_early_stops_the_training(self):
        made, seen = model(), Seen()
        with pytest.warns(UserWarning, match="3 batches in epoch 2, steps_per_epoch is 5"):
            history = made.fit(self.batches(8), steps_per_epoch=5, epochs=4, verbose=0,
                               callbacks=[seen])  # fmt: skip
        assert history.epoch == [0, 1] and made.optimizer.iterations == 8
        assert seen.calls[-1] == "on_train_end"
        with pytest.warns(UserWarning, match="0 batches in epoch 2"):
            history = made.fit(self.batches(5), steps_per_epoch=5, epochs=4, verbose=0)
        assert history.epoch == [0]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"x": iter([])}, "x: .*at least one batch"),
            ({"x": iter([(X, Y)]), "y": Y}, "y: .*None beside an iterable"),
            ({"x": iter([X])}, "batches without y"),
            ({"x": iter([(X, Y, Y, Y)])}, "4 parts"),
            ({"x": iter([(X, Y)]), "epochs": 2}, "steps_per_epoch: .*several epochs"),
            ({"x": X, "y": Y, "epochs": 2, "validation_data": iter([(X, Y)])},
             "validation_steps: .*several epochs"),
            ({"x": iter([(X, Y)]), "validation_split": 0.5}, "validation_split: .*arrays"),
            ({"x": iter([(X, Y[:3])])}, "y: expected 50 rows"),
            ({"x": iter([(X[:, :, :2], Y)])}, r"x: .*\(any, 5, 3\).*\(50, 5, 2\)"),
        ],
    )  # fmt: skip
    def test_errors(self, arguments, words):
        made = model()
        before = made.get_weights()
        with pytest.raises(ValueError, match=words):
            made.fit(**arguments, verbose=0)
        assert same_weights(made.get_weights(), before) and made.optimizer.iterations == 0


class TestSeveralOutputs:
    @staticmethod
    def make(**options):
        clstm.set_seed(2)
        a, b = Input((5, 3), name="a"), Input((2,), name="b")
        h = Concatenate()([LSTM(4)(a), b])
        outputs = [Dense(1, activation="sigmoid", name="yes")(h),
                   Dense(3, activation="softmax", name="which")(h)]  # fmt: skip
        made = Model([a, b], outputs)
        made.compile("adam", **options)
        return made

    x = (X, RNG.normal(size=(50, 2)))
    y = (Y, np.arange(50) % 3)
    losses = ("binary_crossentropy", "sparse_categorical_crossentropy")

    def test_lists_and_dicts_are_the_same(self):
        lists = self.make(loss=list(self.losses), loss_weights=[1, 0.5],
                          metrics=[["accuracy"], ["accuracy"]])  # fmt: skip
        names = ("yes", "which")
        dicts = self.make(
            loss=dict(zip(names, self.losses, strict=True)), loss_weights={"which": 0.5},
            metrics={"yes": "accuracy", "which": ["accuracy"]},
        )  # fmt: skip
        one = lists.fit(list(self.x), list(self.y), verbose=0, shuffle=False).history
        two = dicts.fit({"b": self.x[1], "a": self.x[0]}, dict(zip(names, self.y, strict=True)),
                        verbose=0, shuffle=False).history  # fmt: skip
        assert one == two
        assert one.keys() == {"loss", "yes_loss", "which_loss", "yes_accuracy", "which_accuracy"}
        assert one["loss"][0] == pytest.approx(one["yes_loss"][0] + 0.5 * one["which_loss"][0])
        assert same_weights(lists.get_weights(), dicts.get_weights())
        logs = lists.evaluate(list(self.x), list(self.y), return_dict=True)
        assert logs.keys() == one.keys()

    def test_an_output_without_loss(self):
        made = self.make(loss={"yes": "binary_crossentropy"})
        kernel = made.get_layer("which").get_weights()[0]
        made.fit(list(self.x), list(self.y), verbose=0)
        np.testing.assert_array_equal(made.get_layer("which").weights[0], kernel)

    def test_weights_by_output(self):
        made = self.make(loss=list(self.losses))
        w = np.arange(50.0)
        one = made.evaluate(list(self.x), list(self.y), sample_weight=[w, None], return_dict=True)
        two = made.evaluate(list(self.x), list(self.y), sample_weight={"yes": w}, return_dict=True)
        plain = made.evaluate(list(self.x), list(self.y), return_dict=True)
        assert one == two and one["which_loss"] == plain["which_loss"]
        assert one["yes_loss"] != plain["yes_loss"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"loss": ["mse"]}, "loss: expected 2 values, got 1"),
            ({"loss": {"no": "mse"}}, "loss: .*'yes', 'which'.*'no'"),
            ({"loss": "mse", "metrics": ["mae"]}, "metrics: .*list of lists"),
            ({"loss": "mse", "loss_weights": [1, "a"]}, "loss_weights: .*number.*str"),
        ],
    )
    def test_compile_errors(self, options, words):
        with pytest.raises((ValueError, TypeError), match=words):
            self.make(**options)

    def test_data_errors(self):
        made = self.make(loss=list(self.losses))
        for y, words in ((self.y[0], "list of 2 arrays, got ndarray"),
                         ({"yes": Y}, "keys .*which"), ([Y, Y, Y], "got 3")):  # fmt: skip
            with pytest.raises(ValueError, match=words):
                made.fit(list(self.x), y, verbose=0)
        with pytest.raises(ValueError, match=r"class_weight: .*several outputs"):
            made.fit(list(self.x), list(self.y), class_weight={0: 1}, verbose=0)


class TestCompile:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"optimizer": "adamm"}, "optimizer 'adamm'.*'adam'"),
            ({"optimizer": None}, "optimizer: "),
            ({"loss": "no"}, "loss 'no'"),
            ({"loss": np.mean}, "loss"),
            ({"metrics": ["no"]}, "metric 'no'"),
            ({"metrics": [None]}, "metric"),
            ({"weighted_metrics": ["no"]}, "metric 'no'"),
            ({"on_nan": "stop"}, "on_nan: .*'raise'"),
            ({"loss_weights": float("nan")}, "loss_weights: "),
        ],
    )
    @pytest.mark.parametrize("built", [True, False])
    def test_a_bad_argument_keeps_what_was_compiled(self, options, words, built):
        made = model() if built else Sequential([LSTM(4), Dense(1)])
        made.compile("sgd", "mse", metrics=["mae"])
        optimizer = made.optimizer
        with pytest.raises((ValueError, TypeError), match=words):
            made.compile(**{"optimizer": "adam", "loss": "mse", **options})
        assert made.optimizer is optimizer
        history = made.fit(X, Y, verbose=0).history
        assert history.keys() == {"loss", "mae"}

    def test_trainable_is_read_by_compile(self):
        made = model()
        frozen = made.layers[0]
        before = frozen.get_weights()
        frozen.trainable = False
        made.compile("adam", "binary_crossentropy")
        made.fit(X, Y, verbose=0)
        assert same_weights(frozen.get_weights(), before)
        assert made._parameters.trained < made._parameters.values.size
        frozen.trainable = True
        made.fit(X, Y, verbose=0)
        assert same_weights(frozen.get_weights(), before)
        made.compile("adam", "binary_crossentropy")
        made.fit(X, Y, verbose=0)
        assert not same_weights(frozen.get_weights(), before)

    def test_all_frozen(self):
        made = model(metrics=["accuracy"])
        before = made.get_weights()
        for layer in made.layers:
            layer.trainable = False
        made.compile("adam", "binary_crossentropy")
        assert np.isfinite(made.fit(X, Y, verbose=0).history["loss"]).all()
        assert same_weights(made.get_weights(), before)

    def test_an_optimizer_goes_on_with_its_model_and_no_other(self):
        optimizer = Adam()
        made = model(optimizer=optimizer)
        made.fit(X, Y, verbose=0)
        made.compile(optimizer, "mse")
        made.fit(X, Y, verbose=0)
        assert optimizer.iterations == 4
        other = linear(optimizer)
        before = other.get_weights()
        with pytest.raises(ValueError, match="optimizer: expected a new one"):
            other.fit([[1]], [[1]], verbose=0)
        assert same_weights(other.get_weights(), before)
        made.add(Dense(1))
        with pytest.raises(ValueError, match="compile the model again"):
            made.fit(X, Y, verbose=0)

    def test_metric_names(self):
        made = model(metrics=["accuracy", "acc", "AUC", clstm.metrics.Precision(name="p"), "mae"],
                     weighted_metrics=["mae"])  # fmt: skip
        made.fit(X, Y, verbose=0)
        assert [*made.history.history] == ["loss", "accuracy", "acc", "AUC", "p", "mae",
                                            "weighted_mae"]

    def test_accuracy_fits_the_labels(self):
        labels = np.arange(50) % 3
        for y, loss in ((labels, "sparse_categorical_crossentropy"),
                        (np.eye(3)[labels], "categorical_crossentropy"),
                        (labels[:, None], "crossentropy")):  # fmt: skip
            made = model(loss, units=3, last="softmax", metrics=["accuracy"])
            _, accuracy = made.evaluate(X, y)
            assert accuracy == pytest.approx((made.predict(X).argmax(-1) == labels).mean())

    def test_labels_of_the_wrong_kind_decide_nothing(self):
        made = model("crossentropy", units=3, last="softmax", metrics=["accuracy"])
        with pytest.raises(ValueError, match="y_true"):
            made.fit(X, np.full(50, 3), verbose=0)
        made.fit(X, np.eye(3)[np.arange(50) % 3], verbose=0)
        assert made._objective.losses[0].__class__.__name__ == "CategoricalCrossentropy"


class TestErrors:
    good: ClassVar = {"x": X, "y": Y, "verbose": 0}

    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"x": None}, ValueError, "x: "),
            ({"y": None}, ValueError, "y: expected labels"),
            ({"x": X[:0], "y": Y[:0]}, ValueError, "x: expected at least one row"),
            ({"x": X[:, :, :2]}, ValueError, r"x: expected shape \(any, 5, 3\), got \(50, 5, 2\)"),
            ({"x": X[:, 0]}, ValueError, r"x: expected shape \(any, 5, 3\), got \(50, 3\)"),
            ({"x": X.astype(str)}, TypeError, "x: .*numbers"),
            ({"x": [[1, 2], [3]]}, ValueError, "x: .*ragged"),
            ({"y": Y[:49]}, ValueError, "y: expected 50 rows"),
            ({"y": np.ones((50, 2))}, ValueError, "y_true"),
            ({"y": np.r_[Y[:49], np.nan]}, ValueError, "y_true has NaN"),
            ({"y": Y.astype(str)}, TypeError, "y: .*numbers"),
            ({"y": 1.0}, ValueError, "y: expected 50 rows"),
            ({"batch_size": 0}, ValueError, "batch_size: .*0"),
            ({"batch_size": 2.5}, TypeError, "batch_size: .*float"),
            ({"epochs": 0}, ValueError, "epochs: "),
            ({"epochs": "3"}, TypeError, "epochs: "),
            ({"initial_epoch": -1}, ValueError, "initial_epoch: "),
            ({"initial_epoch": 0.5}, TypeError, "initial_epoch: "),
            ({"verbose": 3}, ValueError, "verbose: "),
            ({"verbose": "loud"}, ValueError, "verbose: "),
            ({"callbacks": [3]}, TypeError, "callbacks: .*int"),
            ({"callbacks": "x"}, TypeError, "callbacks: .*str"),
            ({"validation_split": 1.0}, ValueError, "validation_split: "),
            ({"validation_split": 0.999}, ValueError, "validation_split: .*both sides"),
            ({"validation_split": 0.5, "validation_data": (X, Y)}, ValueError,
             "validation_split: .*both"),
            ({"validation_data": (X,)}, ValueError, "validation_data: .*1 parts"),
            ({"validation_data": X}, ValueError, "y: expected labels"),
            ({"validation_data": (X, Y[:3])}, ValueError, "y: expected 50 rows"),
            ({"validation_data": (X, np.full(50, np.nan))}, ValueError, "NaN"),
            ({"validation_freq": 0}, ValueError, "validation_freq: "),
            ({"validation_freq": [0]}, ValueError, "validation_freq: "),
            ({"validation_batch_size": 0}, ValueError, "validation_batch_size: "),
            ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch: "),
            ({"class_weight": [1, 2]}, TypeError, "class_weight: .*dict"),
            ({"class_weight": {"a": 1}}, ValueError, "class_weight: .*'a'"),
            ({"class_weight": {-1: 1}}, ValueError, "class_weight: .*-1"),
            ({"class_weight": {0: "a"}}, TypeError, r"class_weight\[0\]"),
            ({"sample_weight": np.ones(3)}, ValueError, "sample_weight: expected 50 rows"),
            ({"sample_weight": np.ones((50, 1, 1))}, ValueError, "sample_weight: .*2 dimensions"),
            ({"sample_weight": np.ones((50, 5))}, ValueError, "sample_weight"),
        ],
    )  # fmt: skip
    def test_nothing_is_trained(self, changes, error, words):
        made = model()
        before = made.get_weights()
        with pytest.raises(error, match=words):
            made.fit(**self.good | changes)
        assert same_weights(made.get_weights(), before) and made.optimizer.iterations == 0
        made.fit(**self.good)

    def test_a_bad_label_in_the_last_row(self):
        made = model("sparse_categorical_crossentropy", units=3, last="softmax")
        y = np.zeros(50)
        for bad in (3, -1, 0.5, np.nan, np.inf):
            y[-1] = bad
            before = made.get_weights()
            with pytest.raises(ValueError, match=r"y_true.*\[0, 3\)"):
                made.fit(X, y, batch_size=5, verbose=0)
            with pytest.raises(ValueError, match="y_true"):
                made.train_on_batch(X, y)
            assert same_weights(made.get_weights(), before)

    def test_a_bad_label_behind_a_mask_of_words(self):
        """The mask ends in the LSTM, so labels are checked beforehand all the same."""
        made = Sequential([Input((3,), dtype="int32"), Embedding(5, 2, mask_zero=True), LSTM(2),
                           Dense(3, activation="softmax")])  # fmt: skip
        made.compile("sgd", "sparse_categorical_crossentropy")
        before = made.get_weights()
        with pytest.raises(ValueError, match=r"\[0, 3\)"):
            made.fit(np.ones((9, 3), int), [0] * 8 + [3], batch_size=2, verbose=0)
        assert same_weights(made.get_weights(), before)

    def test_a_metric_that_does_not_fit_trains_nothing(self):
        made = model("sparse_categorical_crossentropy", units=3, last="softmax", metrics=["mae"])
        before = made.get_weights()
        with pytest.raises(ValueError, match="y_true"):
            made.fit(X, np.zeros(50), verbose=0)
        assert same_weights(made.get_weights(), before) and made.optimizer.iterations == 0

    def test_a_bad_first_call_builds_nothing(self):
        made = Sequential([LSTM(4), Dense(1)])
        with pytest.raises(ValueError, match="compile"):
            made.fit(X, Y)
        made.compile("sgd", "mse")
        with pytest.raises(ValueError, match="y: expected 50 rows"):
            made.fit(X, Y[:3], verbose=0)
        with pytest.raises(ValueError, match="sample_weight: expected 50 rows"):
            made.train_on_batch(X, Y, sample_weight=[1])
        assert not made.built

    def test_without_compile_or_loss(self):
        made = Sequential([Input((5, 3)), LSTM(2), Dense(1)])
        for call in (made.fit, made.evaluate, made.train_on_batch, made.test_on_batch):
            with pytest.raises(ValueError, match="compile"):
                call(X, Y)
        assert made.predict(X).shape == (50, 1)
        made.compile("sgd")
        with pytest.raises(ValueError, match=r"loss: .*None"):
            made.fit(X, Y, verbose=0)

    def test_nan_loss(self):
        x = X.copy()
        x[20, 2, 1] = np.nan
        made = model()
        with pytest.raises(FloatingPointError, match="the loss became nan in step 3"):
            made.fit(x, Y, batch_size=10, shuffle=False, verbose=0)
        assert made.optimizer.iterations == 2
        assert all(np.isfinite(w).all() for w in made.weights)
        assert np.isnan(made.predict(x)[20]).all() and np.isfinite(made.predict(x)[:20]).all()
        made.compile("adam", "binary_crossentropy", on_nan="ignore")
        assert np.isnan(made.fit(x, Y, verbose=0).history["loss"]).all()

    def test_infinite_input_of_the_gates_saturates(self):
        x = X.copy()
        x[0, 0, 0] = 3e38
        assert np.isfinite(model().predict(x)).all()


class TestEvaluateAndPredict:
    def test_values(self):
        made = model(metrics=["accuracy", "mae"])
        p = made.predict(X)[:, 0]
        q = np.clip(p.astype("f8"), 1e-7, 1 - 1e-7)
        wanted = [-(Y * np.log(q) + (1 - Y) * np.log(1 - q)).mean(), ((p > 0.5) == Y).mean(),
                  np.abs(p - Y).mean()]  # fmt: skip
        np.testing.assert_allclose(made.evaluate(X, Y, batch_size=7), wanted, rtol=1e-5)
        np.testing.assert_allclose(made.test_on_batch(X, Y), wanted, rtol=1e-5)
        logs = made.evaluate(X, Y, return_dict=True)
        assert [*logs] == ["loss", "accuracy", "mae"]
        assert isinstance(model().evaluate(X, Y), float)

    def test_steps(self):
        made = model()
        assert made.predict(X, batch_size=8, steps=2).shape == (16, 1)
        assert made.predict(X, batch_size=8, steps=99).shape == (50, 1)
        assert made.evaluate(X, Y, batch_size=8, steps=2) == pytest.approx(
            made.evaluate(X[:16], Y[:16]))  # fmt: skip

    def test_empty(self):
        made, seen = model(), Seen()
        assert made.predict(X[:0], callbacks=[seen]).shape == (0, 1)
        assert seen.calls == ["on_predict_begin", "on_predict_end"]
        for call in (made.evaluate, made.test_on_batch, made.train_on_batch):
            with pytest.raises(ValueError, match="at least one row"):
                call(X[:0], Y[:0])
        words = Sequential([Embedding(4, 2), LSTM(3), Dense(2, activation="softmax")])
        words.build((None, 5))
        assert words.predict(np.zeros((0, 5), int)).shape == (0, 2)

    def test_batches_change_nothing(self):
        made = model()
        whole = made.predict(X, batch_size=50)
        for size in (1, 3, 49):
            np.testing.assert_allclose(made.predict(X, batch_size=size), whole, atol=1e-6)
        np.testing.assert_array_equal(made.predict_on_batch(X), whole)

    def test_predict_reads_from_disk_in_batches(self, tmp_path):
        rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f8", (50, 5, 3))
        rows[:] = X
        np.testing.assert_array_equal(model().predict(rows), model().predict(X))

    def test_evaluate_changes_nothing(self):
        made = model()
        before = made.get_weights()
        made.evaluate(X, Y)
        made.test_on_batch(X, Y)
        assert same_weights(made.get_weights(), before) and made.optimizer.iterations == 0

    def test_stateful(self):
        clstm.set_seed(3)
        made = Sequential([Input((5, 3)), LSTM(4, stateful=True), Dense(1)])
        made.compile("sgd", "mse")
        one, two = made.predict(X[:10], batch_size=10), made.predict(X[:10], batch_size=10)
        assert (one != two).any()
        made.reset_states()
        np.testing.assert_array_equal(made.predict(X[:10], batch_size=10), one)
        made.reset_states()
        before = made.get_weights()
        for call in (lambda: made.fit(X, Y, batch_size=32, verbose=0),
                     lambda: made.evaluate(X, Y, batch_size=32),
                     lambda: made.predict(X, batch_size=32)):  # fmt: skip
            with pytest.raises(ValueError, match=r"batch_size: .*divisor of the 50 rows"):
                call()
        assert same_weights(made.get_weights(), before)
        assert len(made.fit(X, Y, batch_size=25, epochs=2, verbose=0, shuffle=False).epoch) == 2


class TestPenalties:
    def test_regularizers_are_part_of_the_loss(self):
        made = Sequential([Input((1,)), Dense(1, kernel_initializer="ones",
                                              kernel_regularizer=L2(0.5))])  # fmt: skip
        made.compile(SGD(0.1), "mse")
        assert made.evaluate([[0.0]], [[0.0]]) == pytest.approx(0.5)
        assert made.train_on_batch([[0.0]], [[0.0]]) == pytest.approx(0.5)
        assert made.weights[0][0, 0] == pytest.approx(0.9)  # 1 - 0.1 * 2 * 0.5
        made.layers[0].trainable = False
        made.compile(SGD(0.1), "mse")
        assert made.evaluate([[0.0]], [[0.0]]) == 0

    def test_activity_regularizer(self):
        made = Sequential([Input((1,)), Dense(1, kernel_initializer="ones",
                                              activity_regularizer=L2(0.5))])  # fmt: skip
        made.compile(SGD(0.1), "mse")
        assert made.evaluate([[2.0], [1.0]], [[2.0], [1.0]]) == pytest.approx(0.5 * (4 + 1) / 2)
        made.train_on_batch([[2.0], [1.0]], [[2.0], [1.0]])
        assert made.weights[0][0, 0] == pytest.approx(1 - 0.1 * (4 + 1) / 2)

    def test_activity_of_every_output(self):
        x = Input((3, 2))
        y, _, c = LSTM(2, return_sequences=True, return_state=True, activity_regularizer="l2")(x)
        made = Model(x, [y, c])
        made.compile("sgd", "mse")
        data = np.random.default_rng(1).normal(size=(4, 3, 2))
        y, c = made.predict(data)
        want = 0.01 * ((y**2).sum() + (y[:, -1] ** 2).sum() + (c**2).sum()) / 4
        logs = made.evaluate(data, [y, c], return_dict=True)
        assert logs["loss"] == pytest.approx(want, rel=1e-5)
        before = made.get_weights()
        made.train_on_batch(data, [y, c])
        assert not same_weights(made.get_weights(), before)

    def test_constraints_hold_after_every_step(self):
        made = Sequential([Input((5, 3)), LSTM(4, kernel_constraint=MaxNorm(0.1)), Dense(1)])
        made.compile(SGD(1.0), "mse")
        made.fit(X, Y, verbose=0)
        assert np.linalg.norm(made.weights[0], axis=0).max() <= 0.1 + 1e-6


class TestBatchByBatch:
    def test_train_on_batch_is_fit(self):
        one, two = model(metrics=["accuracy"]), model(metrics=["accuracy"])
        history = one.fit(X, Y, batch_size=50, shuffle=False, verbose=0).history
        values = two.train_on_batch(X, Y)
        assert values == [history["loss"][0], history["accuracy"][0]]
        assert same_weights(one.get_weights(), two.get_weights())
        assert two.train_on_batch(X, Y, return_dict=True).keys() == {"loss", "accuracy"}
        assert two.train_on_batch(X, Y, sample_weight=np.zeros(50))[0] == 0
        assert two.train_on_batch(X, Y, class_weight={0: 0.0, 1: 0.0})[0] == 0

    def test_no_labels(self):
        with pytest.raises(ValueError, match="y: "):
            model().train_on_batch(X, None)


class TestOutput:
    def test_lines(self, capsys):
        made = model(metrics=["accuracy"])
        made.fit(X, Y, epochs=2, verbose=2, validation_split=0.2)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        pattern = r"Epoch 2/2 - \d+\.\ds - loss: [\d.]+ - accuracy: [\d.]+ - val_loss: .*"
        assert re.fullmatch(pattern, lines[1])
        made.fit(X, Y)  # no terminal: as verbose=2
        assert capsys.readouterr().out.startswith("Epoch 1/1 - ")

    def test_silence(self, capsys):
        made = model()
        made.fit(X, Y, verbose=0, validation_split=0.2)
        made.evaluate(X, Y)
        made.predict(X)
        assert capsys.readouterr().out == ""

    def test_a_bar(self, capsys):
        model(metrics=["accuracy"]).fit(X, Y, epochs=2, verbose=1)
        out = capsys.readouterr().out
        assert "Epoch 1/2" in out and "2/2" in out and "loss: " in out and "100%" in out

    def test_evaluation(self, capsys):
        model().evaluate(X, Y, verbose=1)
        assert re.fullmatch(r"Evaluation - \d+\.\ds - loss: [\d.]+\n", capsys.readouterr().out)

    def test_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        model().fit(X, Y)
        assert "Epoch 1/1" in capsys.readouterr().out
