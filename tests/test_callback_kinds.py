"""Each callback: Keras's decisions on given logs, what it writes, and what it refuses."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Sequential
from clstm.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from clstm.metrics import F1Score
from clstm.optimizers import SGD
from clstm.schedules import ExponentialDecay

GOLDEN = json.loads((Path(__file__).parent / "golden" / "keras_callbacks.json").read_text())
PARAMS = {"epochs": 30, "steps": 1, "verbose": 0, "added": {},
          "metrics": {"loss": "min", "val_loss": "min"}}  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4, 3)).astype(np.float32)
Y = (X.sum(axis=(1, 2)) > 0).astype(np.float32)


def classifier(**compiled):
    clstm.set_seed(0)
    model = Sequential([LSTM(4, input_shape=(4, 3)), Dense(1, activation="sigmoid")])
    model.compile(SGD(0.5), "bce", **compiled)
    return model


def golden(name):
    cases = [case for case in GOLDEN if case["callback"] == name]
    assert len(cases) >= 18
    return pytest.mark.parametrize("case", cases, ids=lambda case: str(case["options"]))


def begin(callback, model):
    callback.set_model(model)
    callback.set_params(PARAMS)
    callback.on_train_begin({})
    return callback


@golden("early_stopping")
def test_early_stopping(case):
    model = SimpleNamespace(stop_training=False, epoch=0, restored=None)
    model.get_weights = lambda: model.epoch
    model.set_weights = lambda epoch: setattr(model, "restored", epoch)
    callback = begin(EarlyStopping("val_loss", **case["options"]), model)
    for epoch, value in enumerate(case["values"]):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            break
    callback.on_train_end({})
    found = {name: getattr(callback, name) for name in ("wait", "best", "best_epoch")}
    assert found | {"epochs": epoch + 1, "restored": model.restored} == case["found"]


@golden("reduce_rate")
def test_reduce_lr_on_plateau(case):
    model = SimpleNamespace(optimizer=SGD(0.5))
    callback = begin(ReduceLROnPlateau("val_loss", **case["options"]), model)
    rates = []
    for epoch, value in enumerate(case["values"]):
        callback.on_epoch_end(epoch, {"val_loss": value})
        rates.append(model.optimizer.learning_rate)
    assert rates == case["found"]


@golden("checkpoint")
def test_model_checkpoint(case, tmp_path):
    saved = []
    model = SimpleNamespace(save=lambda path: saved.append(int(path.stem)))
    path = tmp_path / "{epoch}.clstm"
    callback = begin(ModelCheckpoint(path, save_best_only=True, **case["options"]), model)
    for epoch, value in enumerate(case["values"]):
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, {"val_loss": value})
    assert saved == case["found"]


def test_early_stopping_in_fit(capsys):
    model = classifier()
    seen = []
    keep = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    stop = EarlyStopping("loss", patience=2, min_delta=0.02, restore_best_weights=True, verbose=1)
    history = model.fit(X, Y, epochs=50, verbose=0, callbacks=[keep, stop])
    assert 3 <= len(history.epoch) < 50 and stop.stopped_epoch == history.epoch[-1]
    for a, b in zip(model.get_weights(), seen[stop.best_epoch], strict=True):
        np.testing.assert_array_equal(a, b)
    assert "early stopping" in capsys.readouterr().out


def test_files_of_a_checkpoint(tmp_path, capsys):
    model = classifier(metrics=["accuracy"])
    model.fit(X, Y, epochs=3, batch_size=6, verbose=0, validation_split=0.3, callbacks=[
        ModelCheckpoint(tmp_path / "all" / "{epoch:02d}-{val_loss:.2f}.clstm", verbose=1),
        ModelCheckpoint(tmp_path / "b{epoch}-{batch}.clstm", save_freq=2, save_weights_only=True),
    ])  # fmt: skip
    names = sorted(p.name for p in (tmp_path / "all").iterdir())
    assert [n[:3] for n in names] == ["01-", "02-", "03-"] and "saved to" in capsys.readouterr().out
    again = clstm.load_model(tmp_path / "all" / names[-1])
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    files = sorted(tmp_path.glob("b*.clstm"))
    assert [p.stem for p in files] == ["b1-2", "b2-1", "b2-3", "b3-2"]
    other = classifier()
    other.load_weights(files[-1])
    assert not np.array_equal(other.predict(X), model.predict(X))
    model.save_weights(tmp_path / "last")
    other.load_weights(tmp_path / "last")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_weights_of_other_shapes_or_files(tmp_path):
    classifier().save_weights(tmp_path / "weights")
    other = Sequential([LSTM(5, input_shape=(4, 3)), Dense(1)])
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"weights\[0\]: expected shape"):
        other.load_weights(tmp_path / "weights")
    assert all((a == b).all() for a, b in zip(before, other.get_weights(), strict=True))
    with pytest.raises(FileNotFoundError, match="a file of weights"):
        other.load_weights(tmp_path / "none")
    classifier().save(tmp_path / "model")
    with pytest.raises(ValueError, match="expected a file of weights, got another"):
        other.load_weights(tmp_path / "model")


def test_learning_rate_scheduler(capsys):
    model = classifier()
    rates = []
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[
        LearningRateScheduler(lambda epoch, rate: rate * 0.5, verbose=1),
        LambdaCallback(on_epoch_end=lambda e, l: rates.append(model.optimizer.learning_rate)),
    ])  # fmt: skip
    assert rates == history.history["learning_rate"] == [0.25, 0.125, 0.0625]
    assert "Epoch 3: learning rate 0.0625" in capsys.readouterr().out
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[LearningRateScheduler(lambda epoch: 0.125)])
    assert model.optimizer.learning_rate == 0.125


def test_csv(tmp_path):
    model, path = classifier(metrics=["accuracy", F1Score(average=None)]), tmp_path / "log.csv"
    log = CSVLogger(path, separator=";")
    history = model.fit(X, Y, epochs=3, verbose=0, validation_split=0.5, validation_freq=2,
                        callbacks=[log]).history  # fmt: skip
    header, *rows = [line.split(";") for line in path.read_text().splitlines()]
    assert header == ["epoch", "loss", "accuracy", "f1_score", "val_loss", "val_accuracy",
                      "val_f1_score"]  # fmt: skip
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [float(row[1]) for row in rows] == history["loss"]
    assert [row[4] == "NA" for row in rows] == [True, False, True]
    assert json.loads(rows[0][3]) == history["f1_score"][0].tolist()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[CSVLogger(path, ";", append=True)])
    assert len(path.read_text().splitlines()) == 5
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[CSVLogger(path)])
    assert len(path.read_text().splitlines()) == 2


def test_tensorboard():
    written = []
    writer = SimpleNamespace(add_scalar=lambda *arguments: written.append(arguments))
    model = classifier(metrics=[F1Score(average=None)])
    history = model.fit(X, Y, epochs=2, batch_size=8, verbose=0,
                        callbacks=[TensorBoard(writer, update_freq=3)]).history  # fmt: skip
    epochs = [(tag, value, step) for tag, value, step in written if tag.startswith("epoch_")]
    assert epochs[0] == ("epoch_loss", history["loss"][0], 0)
    assert [(tag, step) for tag, _, step in epochs] == [
        ("epoch_loss", 0), ("epoch_f1_score_0", 0), ("epoch_loss", 1), ("epoch_f1_score_0", 1),
    ]  # fmt: skip
    assert [step for tag, _, step in written if tag == "batch_loss"] == [3, 6]


def test_terminate_on_nan(capsys):
    bad = X.copy()
    bad[12:] = np.nan
    for raises in (False, True):
        model = classifier(on_nan="ignore")
        callback = TerminateOnNaN(raise_error=raises)
        options = {"batch_size": 8, "shuffle": False, "verbose": 0, "callbacks": [callback]}
        if raises:
            with pytest.raises(FloatingPointError, match="the loss became nan in batch 2"):
                model.fit(bad, Y, epochs=3, **options)
        else:
            assert len(model.fit(bad, Y, epochs=3, **options).epoch) == 1
            assert "Batch 2: the loss is nan" in capsys.readouterr().out


def test_lambda_hooks():
    calls = []
    hooks = {"on_train_begin": lambda logs: calls.append("begin"),
             "on_train_batch_end": lambda batch, logs: calls.append(batch)}  # fmt: skip
    classifier().fit(X, Y, batch_size=12, verbose=0, callbacks=[LambdaCallback(**hooks)])
    assert calls == ["begin", 0, 1]


class Interrupted(Exception):
    pass


def test_what_callbacks_remember_when_a_training_goes_on(tmp_path):
    """Stopped in each epoch: files, rates, history and decisions are the same."""

    def run(name, interrupt):
        def stop(epoch, logs):
            if epoch == interrupt:
                raise Interrupted

        model = classifier(metrics=["accuracy"])
        early = EarlyStopping("val_loss", patience=4, restore_best_weights=True)
        callbacks = [
            ReduceLROnPlateau("loss", patience=1, min_delta=0.03, factor=0.5), early,
            CSVLogger(tmp_path / name / "log.csv"), LambdaCallback(on_epoch_begin=stop),
            ModelCheckpoint(tmp_path / name / "{epoch}.clstm", save_best_only=True,
                            save_weights_only=True),
        ]  # fmt: skip
        history = model.fit(X, Y, epochs=25, batch_size=8, validation_split=0.3, verbose=0,
                            callbacks=callbacks, resume=tmp_path / name / "run")  # fmt: skip
        files = {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.is_file()}
        return (history.history, model.get_weights(), files, early.best_epoch,
                model.optimizer.learning_rate)  # fmt: skip

    (tmp_path / "whole").mkdir()
    history, weights, files, *rest = run("whole", -1)
    assert len(history["loss"]) > 6 and len(set(history["learning_rate"])) > 2
    for epoch in range(1, 6):
        (tmp_path / str(epoch)).mkdir()
        with pytest.raises(Interrupted):
            run(str(epoch), epoch)
        found = run(str(epoch), -1)
        assert found[0] == history and found[2] == files and list(found[3:]) == rest
        assert all((a == b).all() for a, b in zip(found[1], weights, strict=True))


@pytest.mark.parametrize(("callback", "message"), [
    (EarlyStopping(), r"monitor: expected one of loss, accuracy, f1_score, got 'val_loss'"),
    (ReduceLROnPlateau("acc"), "monitor: expected one of"),
    (EarlyStopping("spread"), "monitor: expected one of"),
    (ModelCheckpoint("x", save_best_only=True), "monitor: expected one of"),
    (ModelCheckpoint("{epoch}-{val_loss}"), "filepath: expected fields of epoch, loss"),
    (ModelCheckpoint("{epoch"), "filepath: expected fields"),
    (ModelCheckpoint("x", "val_loss", save_best_only=True, save_freq=2), "monitor"),
])  # fmt: skip
def test_what_fit_refuses(callback, message):
    model = classifier(metrics=["accuracy", F1Score(average=None)])
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y, verbose=0, callbacks=[callback])
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    model.evaluate(X, Y, callbacks=[callback])  # where nothing is monitored


@pytest.mark.parametrize("make", [ReduceLROnPlateau, LearningRateScheduler])
def test_a_rate_that_follows_a_schedule(make):
    model = classifier()
    model.compile(SGD(ExponentialDecay(0.1, 10, 0.9)), "bce")
    callback = make("loss") if make is ReduceLROnPlateau else make(lambda epoch: 0.1)
    with pytest.raises(ValueError, match=f"{make.__name__}: expected an optimizer whose learning"):
        model.fit(X, Y, verbose=0, callbacks=[callback])


def test_a_metric_of_which_is_not_known_what_is_better():
    class Spread(clstm.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(np.std(y_pred))

    model = classifier(metrics=[Spread("spread")])
    with pytest.raises(ValueError, match="mode: expected 'min' or 'max' for 'spread'"):
        model.fit(X, Y, verbose=0, callbacks=[EarlyStopping("spread")])
    model.fit(X, Y, verbose=0, callbacks=[EarlyStopping("spread", mode="max")])


def test_a_quantity_that_is_an_array():
    model = classifier(metrics=[F1Score(average=None)])
    with pytest.raises(ValueError, match="monitor: expected a quantity that is one number"):
        model.fit(X, Y, verbose=0, callbacks=[EarlyStopping("f1_score")])


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: EarlyStopping(3), TypeError, "monitor: expected a name, got int"),
    (lambda: EarlyStopping(mode="down"), ValueError, "mode: expected"),
    (lambda: EarlyStopping(patience=-1), ValueError, "patience: expected at least 0"),
    (lambda: EarlyStopping(min_delta=float("nan")), ValueError, "min_delta"),
    (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "factor"),
    (lambda: ReduceLROnPlateau(min_lr=-1), ValueError, "min_lr"),
    (lambda: ModelCheckpoint(None), TypeError, "filepath: expected a path, got NoneType"),
    (lambda: ModelCheckpoint("x", save_freq="batch"), ValueError, "save_freq"),
    (lambda: LearningRateScheduler(0.1), TypeError, "schedule: expected a function"),
    (lambda: CSVLogger("x", separator=", "), ValueError, "separator: expected one character"),
    (lambda: TensorBoard(object()), TypeError, "writer: expected something with add_scalar"),
    (lambda: TensorBoard(SimpleNamespace(add_scalar=print), 0), ValueError, "update_freq"),
    (lambda: LambdaCallback(on_epoch=print), ValueError, "hooks: expected some of"),
    (lambda: LambdaCallback(on_epoch_end=1), TypeError, "on_epoch_end: expected a function"),
    (lambda: TerminateOnNaN("yes"), TypeError, "raise_error"),
])  # fmt: skip
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_rate_that_is_none():
    callback = LearningRateScheduler(lambda epoch, rate: -rate)
    with pytest.raises(ValueError, match=r"schedule: expected a finite number > 0, got -0.5"):
        classifier().fit(X, Y, verbose=0, callbacks=[callback])


def test_every_callback_that_changes_remembers():
    """What on_epoch_end changes is in state_names."""
    for callback in (EarlyStopping("val_loss"), ReduceLROnPlateau("val_loss", patience=1)):
        model = SimpleNamespace(stop_training=False, optimizer=SGD(0.5), get_weights=list)
        begin(callback, model)
        before = dict(vars(callback))
        for epoch in range(4):
            callback.on_epoch_end(epoch, {"val_loss": 1.0})
        changed = {k for k, v in vars(callback).items() if before.get(k) != v}
        assert changed and changed <= set(callback.state_names)
    assert Callback().get_state() == {}
