"""Exact resume: a training that was interrupted ends with the bits of one that was not."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, Dense, Dropout, Input, Model, Sequential
from clstm.callbacks import BackupAndRestore, Callback, CSVLogger, ModelCheckpoint
from clstm.io import checkpoints, tensor_file
from clstm.optimizers import SGD, Adam
from clstm.schedules import CosineDecay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6, 3)).astype(np.float32)
Y = (X.sum(axis=(1, 2)) > 0).astype(np.float32)
STEPS = RNG.normal(size=(40, 6, 1)).astype(np.float32)


class Interrupted(Exception):
    pass


class Interrupt(Callback):
    """Raises at the end of step number `at`, counted from 1; 0 never."""

    def __init__(self, at=0):
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        self.at -= 1
        if self.at == 0:
            raise Interrupted


class AtEpochEnd(Callback):
    def __init__(self, do):
        self.do = do

    def on_epoch_end(self, epoch, logs=None):
        self.do(self.model, epoch)


def classifier(**layer):
    model = Sequential()
    model.add(LSTM(6, input_shape=(6, 3), return_sequences=True, recurrent_dropout=0.2, **layer))
    model.add(Dropout(0.3))
    model.add(Bidirectional(LSTM(4)))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(Adam(CosineDecay(0.02, 16), clipnorm=1.0), "binary_crossentropy",
                  metrics=["accuracy", "auc", "precision"])  # fmt: skip
    return model


def train(make, folder, at=0, save_freq="epoch", **fit):
    """Weights, history and random state after fit; None where it was interrupted."""
    clstm.set_seed(5)
    model = make()
    callbacks = [Interrupt(at), BackupAndRestore(folder, save_freq, delete_checkpoint=False)]
    try:
        history = model.fit(callbacks=callbacks, verbose=0, **fit)
    except Interrupted:
        return None
    slots = list(model.optimizer.slots.values())
    return model.get_weights() + slots, history.history, clstm.random.get_state()


def assert_same(found, expected):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[1:] == expected[1:]
    assert list(found[1]) == list(expected[1])


def every_point(tmp_path, make, steps, save_freqs=("epoch", 1, 3), **fit):
    """Interrupt after each of the steps, with each frequency, and go on."""
    expected = train(make, tmp_path / "whole", **fit)
    for save_freq in save_freqs:
        for at in range(1, steps):
            folder = tmp_path / f"{save_freq}-{at}"
            assert train(make, folder, at, save_freq, **fit) is None
            assert_same(train(make, folder, 0, save_freq, **fit), expected)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_arrays(tmp_path, restore, threads):
    clstm.config.num_threads = threads
    every_point(tmp_path, classifier, 9, x=X, y=Y, epochs=3, batch_size=12, validation_split=0.1)


def test_epochs_that_are_no_whole_passes(tmp_path):
    every_point(tmp_path, classifier, 9, x=X, y=Y, epochs=3, batch_size=16, steps_per_epoch=4)


def test_without_shuffling_and_with_an_epoch_to_begin_with(tmp_path):
    every_point(tmp_path, classifier, 5, x=X, y=Y, epochs=4, batch_size=20, shuffle=False,
                initial_epoch=1)  # fmt: skip


class Batches:
    """An iterable that gives the same batches in every epoch."""

    def __iter__(self):
        return iter([(X[k : k + 10], Y[k : k + 10]) for k in range(0, 40, 10)])


@pytest.mark.parametrize("steps", [None, 3, 5])
def test_iterables(tmp_path, steps):
    every_point(tmp_path, classifier, 8, x=Batches(), epochs=3, steps_per_epoch=steps)


def test_iterators(tmp_path):
    def stream():
        rng = np.random.default_rng(1)
        while True:
            rows = rng.integers(40, size=8)
            yield X[rows], Y[rows]

    expected = train(classifier, tmp_path / "whole", x=stream(), epochs=3, steps_per_epoch=3)
    for at in range(1, 9):
        folder = tmp_path / str(at)
        for last in (at, 0):
            found = train(classifier, folder, last, 2, x=stream(), epochs=3, steps_per_epoch=3)
        assert_same(found, expected)


def test_states_that_layers_carry_and_windows(tmp_path):
    def forecaster():
        model = Sequential()
        model.add(LSTM(4, return_sequences=True, stateful=True, input_shape=(None, 3)))
        model.add(Dense(1))
        model.compile(SGD(0.1, momentum=0.9), "mse")
        return model

    every_point(tmp_path, forecaster, 8, x=X, y=STEPS, epochs=2, batch_size=10, bptt=(2, 4))


def test_several_outputs_and_sample_weights(tmp_path):
    def two_outputs():
        x = Input((6, 3))
        h = LSTM(5)(x)
        model = Model(x, [Dense(1, name="a")(h), Dense(1, activation="sigmoid", name="b")(h)])
        model.compile("rmsprop", {"a": "mse", "b": "bce"}, weighted_metrics={"b": ["accuracy"]})
        return model

    every_point(tmp_path, two_outputs, 7, x=X, y=[Y, Y], epochs=2, batch_size=10,
                sample_weight=[np.linspace(0, 1, 40), None])  # fmt: skip


def test_a_learning_rate_that_a_callback_set(tmp_path):
    def halve(model, epoch):
        model.optimizer.learning_rate *= 0.5

    def run(folder, epochs):
        clstm.set_seed(0)
        model = Sequential([LSTM(3, input_shape=(6, 3)), Dense(1)])
        model.compile(SGD(0.5), "mse")
        model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[AtEpochEnd(halve)], resume=folder)
        return model.optimizer.learning_rate, model.get_weights()

    rate, weights = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    again, parts = run(tmp_path / "parts", 4)
    assert rate == again == 0.5**5
    for a, b in zip(weights, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_ended_training_is_not_trained_again_but_further(tmp_path):
    expected = train(classifier, tmp_path / "whole", x=X, y=Y, epochs=4)
    done = train(classifier, tmp_path / "parts", x=X, y=Y, epochs=2)
    assert_same(train(classifier, tmp_path / "parts", x=X, y=Y, epochs=2), done)
    assert_same(train(classifier, tmp_path / "parts", x=X, y=Y, epochs=4), expected)


def test_a_training_that_was_stopped_stays_stopped(tmp_path):
    def stop(model, epoch):
        model.stop_training = epoch == 1

    def run():
        callback = AtEpochEnd(stop)
        return classifier().fit(X, Y, epochs=9, verbose=0, callbacks=[callback],
                                resume=tmp_path / "run")  # fmt: skip

    assert run().epoch == run().epoch == [0, 1]


def test_checkpoints_are_deleted_at_the_end_if_asked_for(tmp_path):
    folder = tmp_path / "run"
    classifier().fit(X, Y, epochs=2, verbose=0, callbacks=[BackupAndRestore(folder)])
    assert not folder.exists()


def test_the_last_ones_are_kept_and_nothing_else_is_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".clstm-old.tmp").write_bytes(b"half")
    backup = BackupAndRestore(tmp_path, 2, delete_checkpoint=False, keep=3)
    classifier().fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[backup])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-00000001-0000000003.safetensors", "checkpoint-00000001-0000000005.safetensors",
        "checkpoint-00000002-0000000000.safetensors", "notes.txt",
    ]  # fmt: skip


def test_files_of_a_training_that_goes_on_within_an_epoch(tmp_path):
    def run(name, at=0):
        path = tmp_path / f"{name}-{{epoch}}"
        callbacks = [Interrupt(at), ModelCheckpoint(path, save_weights_only=True),
                     BackupAndRestore(tmp_path / name, 1, delete_checkpoint=False)]  # fmt: skip
        clstm.set_seed(5)
        classifier().fit(X, Y, batch_size=10, epochs=3, verbose=0, callbacks=callbacks)

    run("whole")
    with pytest.raises(Interrupted):
        run("parts", 10)
    run("parts")
    for epoch in (1, 2, 3):
        expected = (tmp_path / f"whole-{epoch}").read_bytes()
        assert (tmp_path / f"parts-{epoch}").read_bytes() == expected


def test_an_iterator_to_validate_with(tmp_path):
    def stream():
        rng = np.random.default_rng(1)
        while True:
            rows = rng.integers(40, size=8)
            yield X[rows], Y[rows]

    def run(folder, epochs):
        return train(classifier, folder, x=X, y=Y, validation_data=stream(), validation_steps=2,
                     epochs=epochs)  # fmt: skip

    expected = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 2)
    assert_same(run(tmp_path / "parts", 4), expected)


def test_class_weights_of_numpy_and_metrics_that_are_not_registered(tmp_path):
    class Odd(clstm.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(np.abs(y_pred).mean())

    def run(epochs):
        model = classifier()
        model.compile("adam", "bce", metrics=[Odd("odd")])
        return model.fit(X, Y, epochs=epochs, verbose=0, resume=tmp_path, class_weight={
            np.int64(0): np.float32(1), np.int64(1): np.float32(2)}).history  # fmt: skip

    assert run(2)["odd"] == run(3)["odd"][:2]


def test_names_that_count_up_make_no_other_model(tmp_path):
    for name in ("lstm", "lstm_9"):
        model = Sequential([LSTM(4, input_shape=(6, 3), name=name), Dense(1)])
        model.compile("sgd", "mse")
        assert len(model.fit(X, Y, epochs=2, verbose=0, resume=tmp_path).epoch) == 2


def test_a_new_checkpoint_is_kept_beside_a_damaged_later_one(tmp_path):
    train(classifier, tmp_path, x=X, y=Y, epochs=3)
    damage(sorted(tmp_path.glob(checkpoints.PATTERN))[-1])
    backup = BackupAndRestore(tmp_path, 1, delete_checkpoint=False, keep=1)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(Interrupted):
        classifier().fit(X, Y, epochs=4, verbose=0, callbacks=[Interrupt(2), backup])
    with pytest.raises(Interrupted):  # what is left is whole
        classifier().fit(X, Y, epochs=4, verbose=0, callbacks=[Interrupt(1), backup])


def damage(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    expected = train(classifier, tmp_path / "whole", x=X, y=Y, epochs=4)
    train(classifier, tmp_path / "parts", x=X, y=Y, epochs=3)
    damage(sorted((tmp_path / "parts").glob(checkpoints.PATTERN))[-1])
    with pytest.warns(UserWarning, match="damaged"):
        found = train(classifier, tmp_path / "parts", x=X, y=Y, epochs=4)
    assert_same(found, expected)


def test_all_checkpoints_are_damaged(tmp_path):
    train(classifier, tmp_path, x=X, y=Y, epochs=3)
    for path in tmp_path.glob(checkpoints.PATTERN):
        damage(path)
    model = classifier()
    before = model.get_weights()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="whole checkpoint, got 2"):
        model.fit(X, Y, resume=tmp_path, verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def other_optimizer():
    model = classifier()
    model.compile(Adam(CosineDecay(0.02, 16), beta_1=0.5, clipnorm=1.0), "binary_crossentropy",
                  metrics=["accuracy", "auc", "precision"])  # fmt: skip
    return model


@pytest.mark.parametrize(("make", "fit", "differs"), [
    (lambda: classifier(go_backwards=True), {}, "another model/.*go_backwards: false for true"),
    (other_optimizer, {}, "another optimizer/config/beta_1: 0.9 for 0.5"),
    (classifier, {"batch_size": 16}, "another data"),
    (classifier, {"x": X[:30], "y": Y[:30]}, "another data"),
    (classifier, {"shuffle": False}, "another fit/shuffle: true for false"),
    (classifier, {"sample_weight": np.ones(40)}, "another fit/sample_weight: false for true"),
    (classifier, {"callbacks": [AtEpochEnd(None)]}, "another callbacks"),
])  # fmt: skip
def test_a_folder_of_another_training(tmp_path, make, fit, differs):
    classifier().fit(X, Y, epochs=2, resume=tmp_path, verbose=0)
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    model = make()
    before, state = model.get_weights(), clstm.random.get_state()
    with pytest.raises(ValueError, match=f"resume: expected a checkpoint of this.*{differs}"):
        model.fit(**{"x": X, "y": Y, "epochs": 2, "resume": tmp_path, "verbose": 0, **fit})
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    assert clstm.random.get_state() == state and model.optimizer.iterations == 0
    assert files == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="save_freq: expected 'epoch' or a number, got 'batch'"):
        BackupAndRestore(tmp_path, "batch")
    with pytest.raises(ValueError, match="save_freq"):
        BackupAndRestore(tmp_path, 0)
    with pytest.raises(ValueError, match="keep"):
        BackupAndRestore(tmp_path, keep=0)
    with pytest.raises(TypeError, match="backup_dir: expected a path, got int"):
        BackupAndRestore(3)
    with pytest.raises(ValueError, match="resume: expected one BackupAndRestore"):
        classifier().fit(X, Y, resume=tmp_path, callbacks=[BackupAndRestore(tmp_path)])
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="resume: expected a folder"):
        classifier().fit(X, Y, resume=tmp_path / "file")


def test_fewer_batches_than_were_trained_on(tmp_path):
    classifier().fit(((X[:8], Y[:8]) for _ in range(6)), steps_per_epoch=3, epochs=2, verbose=0,
                     resume=tmp_path)  # fmt: skip
    with pytest.raises(ValueError, match=r"x: expected at least 6 batches.*got 4"):
        classifier().fit(((X[:8], Y[:8]) for _ in range(4)), steps_per_epoch=3, epochs=3, verbose=0,
                         resume=tmp_path)  # fmt: skip


def test_what_a_callback_cannot_remember(tmp_path):
    class Odd(Callback):
        state_names = ("thing",)
        thing = object()

        def get_state(self):
            return {"thing": self.thing}

    for thing, found in ((object(), "object"), ({1: 2.0}, "a dict by other keys"), ((1,), "tuple")):
        model = classifier()
        Odd.thing, before = thing, model.get_weights()
        with pytest.raises(ValueError, match=f"state/callbacks.*: expected numbers.*got {found}"):
            model.fit(X, Y, resume=tmp_path, callbacks=[Odd()], verbose=0)
        assert model.optimizer.iterations == 0  # before the first step
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_numbers_of_numpy_come_back_as_they_were(tmp_path):
    class Keeps(Callback):
        state_names = ("kept",)

        def on_epoch_begin(self, epoch, logs=None):
            self.kept = [np.float32(0.1), np.float64(0.1), np.int8(3), np.bool_(True), np.ones(()),
                         np.zeros((0, 2)), {"nan": float("nan")}, None, 2**70, "text"]  # fmt: skip

        kept = None

    first, second = Keeps(), Keeps()
    for callback in (first, second):
        classifier().fit(X, Y, epochs=1, resume=tmp_path, callbacks=[callback], verbose=0)
    for a, b in zip(first.kept, second.kept, strict=True):
        assert type(a) is type(b) and repr(a) == repr(b)


def test_a_callback_that_remembers_something_else_now(tmp_path):
    class Counts(Callback):
        state_names = ("count",)
        count = other = 0

    log = tmp_path / "log.csv"

    def run(epochs):
        model = classifier()
        before = model.get_weights()
        try:
            model.fit(X, Y, epochs=epochs, resume=tmp_path / "run", verbose=0,
                      callbacks=[Counts(), CSVLogger(log)])  # fmt: skip
        except ValueError:
            for a, b in zip(before, model.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
            raise

    run(2)
    text = log.read_text()
    Counts.state_names = ("count", "other")
    with pytest.raises(ValueError, match="with count, other of Counts, got one with count"):
        run(3)
    assert log.read_text() == text
    Counts.state_names = ("count",)
    run(3)
    assert log.read_text().startswith(text) and len(log.read_text().splitlines()) == 4


def test_a_callback_that_changes_another_setting_of_the_optimizer(tmp_path):
    class Clips(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.clipnorm = 0.5

    def clipped(folder, epochs):
        clstm.set_seed(5)
        model = classifier()
        model.fit(X, Y, epochs=epochs, resume=folder, callbacks=[Clips()], verbose=0)
        return model.get_weights()

    clipped(tmp_path / "parts", 2)
    for a, b in zip(clipped(tmp_path / "parts", 3), clipped(tmp_path / "whole", 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_inside_metrics(tmp_path):
    class Twice(clstm.metrics.Metric):
        def __init__(self, name="twice"):
            self.inner = clstm.metrics.Mean()
            super().__init__(name)

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.inner.update_state(np.abs(y_pred))

        def result(self):
            return 2 * self.inner.result()

        def reset_state(self):
            self.inner.reset_state()

    def make():
        model = classifier()
        model.compile("adam", "bce", metrics=[Twice()])
        return model

    every_point(tmp_path, make, 5, (1,), x=X, y=Y, epochs=2, batch_size=16)


def test_the_bar_goes_on_within_an_epoch(tmp_path, capsys):
    train(classifier, tmp_path, 3, 1, x=X, y=Y, batch_size=10)
    model = classifier()
    clstm.set_seed(5)
    callbacks = [Interrupt(), BackupAndRestore(tmp_path, 1, delete_checkpoint=False)]
    model.fit(X, Y, batch_size=10, callbacks=callbacks, verbose=1)
    assert "4/4" in capsys.readouterr().out


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", range(1, 5))
def test_a_write_that_fails_leaves_whole_checkpoints(tmp_path, monkeypatch, call, nth):
    expected = train(classifier, tmp_path / "whole", x=X, y=Y, epochs=3)
    folder, real, count = tmp_path / "parts", getattr(os, call), 0

    def fails(*arguments):
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, call, fails)
    steps = {"fsync": 6, "replace": 3}[call]  # a file and its folder are synced
    if nth <= steps:
        with pytest.raises(OSError, match="No space left"):
            train(classifier, folder, x=X, y=Y, epochs=3)
    monkeypatch.undo()
    assert not list(folder.glob(tensor_file.TEMPORARY))
    for path in folder.glob(checkpoints.PATTERN):
        tensor_file.load(path, tensor_file.CHECKPOINT)
    assert_same(train(classifier, folder, x=X, y=Y, epochs=3), expected)


def child(folder, kill, threads):
    """A process that trains, and is killed in its write number `kill`, at a random moment."""
    code = f"""
        import os, signal, threading, time
        import numpy as np
        import clstm
        from clstm import LSTM, Dense, Dropout, Sequential
        from clstm.callbacks import BackupAndRestore
        from clstm.io import tensor_file
        clstm.config.num_threads = {threads}
        clstm.set_seed(1)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(64, 8, 4)).astype(np.float32)
        y = x.sum(axis=(1, 2)) > 0
        model = Sequential([LSTM(16, input_shape=(8, 4)), Dropout(0.2), Dense(1, "sigmoid")])
        model.compile("adam", "bce", metrics=["accuracy"])
        writes, real = 0, tensor_file.write
        def write(path, data):
            global writes
            writes += 1
            if writes == {kill}:
                kill = os.getpid(), signal.SIGKILL
                threading.Timer({0.0003 * (kill % 5)}, os.kill, kill).start()
            real(path, data)
        tensor_file.write = write
        backup = BackupAndRestore({str(folder)!r}, 1, delete_checkpoint=False)
        history = model.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=[backup]).history
        np.savez({str(folder / "end.npz")!r}, *model.get_weights(), loss=history["loss"])
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(run, cwd=folder, timeout=60).returncode  # not the source folder


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_killed_processes(tmp_path, threads):
    (tmp_path / "whole").mkdir()
    assert child(tmp_path / "whole", 0, 1) == 0
    expected = np.load(tmp_path / "whole" / "end.npz")
    folder = tmp_path / "killed"
    folder.mkdir()
    killed = [child(folder, kill, threads) for kill in (2, 3, 4, 5)]
    assert killed.count(-signal.SIGKILL) >= 3  # the last write may have been quicker
    assert child(folder, 0, threads) == 0
    found = np.load(folder / "end.npz")
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name])
