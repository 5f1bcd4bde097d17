"""The hooks: when they are called, with what, and what they may do."""

import numpy as np
import pytest

from clstm import Dense, Input, Sequential
from clstm.callbacks import (
    Callback,
    CallbackList,
    EarlyStopping,
    History,
    LearningRateScheduler,
    ModelCheckpoint,
)

X, Y = np.ones((5, 2)), np.ones((5, 1))


class Recorder(Callback):
    def __init__(self):
        self.calls = []


def _record(hook):
    def method(self, *arguments):
        logs = arguments[-1]
        assert isinstance(logs, dict)
        self.calls.append((hook.removeprefix("on_"), *arguments[:-1], sorted(logs)))

    return method


for _hook in (h for h in dir(Callback) if h.startswith("on_")):
    setattr(Recorder, _hook, _record(_hook))


def model():
    made = Sequential([Input((2,)), Dense(1)])
    made.compile("sgd", "mse", metrics=["mae"])
    return made


ALL = ["loss", "mae"]


def test_order_and_logs_of_fit():
    seen, made = Recorder(), model()
    made.fit(X, Y, batch_size=3, epochs=1, verbose=0, validation_data=(X, Y), callbacks=seen)
    assert seen.calls == [
        ("train_begin", []),
        ("epoch_begin", 0, []),
        ("train_batch_begin", 0, []),
        ("train_batch_end", 0, ALL),
        ("train_batch_begin", 1, []),
        ("train_batch_end", 1, ALL),
        ("test_begin", []),
        ("test_batch_begin", 0, []),
        ("test_batch_end", 0, ALL),
        ("test_batch_begin", 1, []),
        ("test_batch_end", 1, ALL),
        ("test_end", ALL),
        ("epoch_end", 0, [*ALL, "val_loss", "val_mae"]),
        ("train_end", [*ALL, "val_loss", "val_mae"]),
    ]
    assert seen.model is made
    names = {"loss": "min", "mae": "min", "val_loss": "min", "val_mae": "min"}
    assert seen.params == {"epochs": 1, "steps": 2, "verbose": 0, "metrics": names,
                           "added": {}}  # fmt: skip


def test_order_of_evaluate_and_predict():
    seen, made = Recorder(), model()
    made.evaluate(X, Y, callbacks=[seen])
    made.predict(X, callbacks=[seen])
    assert [call[0] for call in seen.calls] == [
        "test_begin", "test_batch_begin", "test_batch_end", "test_end",
        "predict_begin", "predict_batch_begin", "predict_batch_end", "predict_end",
    ]  # fmt: skip
    assert seen.calls[-2][-1] == ["outputs"]


def test_batch_logs_are_running_means():
    values = []

    class Losses(Callback):
        def on_train_batch_end(self, batch, logs=None):
            values.append(logs["loss"])

    made = Sequential([Input((1,)), Dense(1, kernel_initializer="zeros")])
    made.compile("sgd", "mse")
    made.optimizer.learning_rate = 1e-12
    history = made.fit(np.zeros((3, 1)), [[1], [2], [3]], batch_size=1, shuffle=False, verbose=0,
                       callbacks=[Losses()])  # fmt: skip
    np.testing.assert_allclose(values, [1, 2.5, 14 / 3], rtol=1e-6)
    assert history.history["loss"] == [values[-1]]


def test_logs_added_by_a_callback_are_history():
    class Rate(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["rate"] = self.model.optimizer.current_learning_rate()

    assert model().fit(X, Y, epochs=2, verbose=0, callbacks=[Rate()]).history["rate"] == [0.01] * 2


def test_logs_that_a_callback_announces_can_be_monitored_and_written(tmp_path):
    rates = LearningRateScheduler(lambda epoch: 0.5 / (1 + epoch))
    stop = EarlyStopping("learning_rate", mode="max")
    save = ModelCheckpoint(tmp_path / "{epoch}-{learning_rate:.2f}", save_weights_only=True)
    made = model()
    made.fit(X, Y, epochs=5, verbose=0, callbacks=[rates, stop, save])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-0.50", "2-0.25"]
    wrong = ModelCheckpoint(tmp_path / "{learning_rate}", save_freq=1)  # batches have none
    for callbacks in ([rates, wrong], [stop], [rates, EarlyStopping("learning_rate")]):
        with pytest.raises(ValueError, match=r"filepath: |monitor: |mode: "):
            made.fit(X, Y, verbose=0, callbacks=callbacks)


def test_train_end_comes_after_an_error_too():
    seen, made = Recorder(), model()

    class Fails(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        made.fit(X, Y, verbose=0, callbacks=[seen, Fails()])
    assert seen.calls[-1][0] == "train_end" and made.optimizer.iterations == 0


def test_a_callback_may_change_the_rate_and_the_weights():
    class Set(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.5
            self.model.set_weights([np.zeros((2, 1)), np.zeros(1)])

    made = Sequential([Input((2,)), Dense(1)])
    made.compile("sgd", "mse")
    made.fit(X, Y, batch_size=5, verbose=0, callbacks=[Set()])
    np.testing.assert_allclose(made.weights[0], 1)  # 0 - 0.5 * 2 * (0 - 1)


def test_unused_hooks_cost_nothing():
    call = CallbackList([History()])
    assert call.wants("on_epoch_end") and not call.wants("on_train_batch_end")
    own = Callback()
    own.on_train_end = lambda logs: None  # one object's own hook
    assert CallbackList([own]).wants("on_train_end")


def test_history_is_what_fit_returns():
    made = model()
    own = History()
    history = made.fit(X, Y, epochs=3, verbose=0, callbacks=[own])
    assert history.epoch == own.epoch == [0, 1, 2]
    assert history.history == own.history
    assert all(len(values) == 3 for values in history.history.values())
