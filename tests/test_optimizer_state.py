"""What optimizers keep beside the step itself: averages, gathered gradients, exceptions, state."""

from typing import ClassVar

import numpy as np
import pytest

import clstm
from clstm import LSTM, Dense, Embedding, Sequential, load_model
from clstm import optimizers as O
from clstm.callbacks import Callback, ModelCheckpoint, SwapEMAWeights
from clstm.schedules import ExponentialDecay, LearningRateSchedule

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5, 3)).astype("f4"), RNG.normal(size=24)


def small(optimizer, **options):
    clstm.set_seed(3)
    model = Sequential([LSTM(4, input_shape=(5, 3)), Dense(1)])
    model.compile(optimizer, "mse", **options)
    return model


def copied(optimizer):
    return type(optimizer).from_config(optimizer.get_config())


def same(one, two):
    return all((a == b).all() for a, b in zip(one, two, strict=True))


OPTIMIZERS = [
    O.Nadam(), O.Adamax(), O.LazyAdam(), O.RAdam(beta_2=0.9), O.Adadelta(1.0), O.Lion(), O.Lamb(),
    O.Adam(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=4),
    O.AdamW(gradient_accumulation_steps=4, use_ema=True), O.NTASGD(0.1, patience=1, clipnorm=1.0),
    O.SGD(ExponentialDecay(0.1, 2, 0.5), gradient_accumulation_steps=5, momentum=0.5),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
class TestGoesOn:
    """8-row batches, 3 a pass: gathered gradients are left over at the end."""

    FIT: ClassVar = {"batch_size": 8, "verbose": 0, "validation_data": (X[:5], Y[:5])}

    def test_in_a_file(self, optimizer, tmp_path):
        model = small(copied(optimizer))
        model.optimizer.exclude_from_weight_decay(["bias"])
        model.fit(X, Y, epochs=3, **self.FIT)
        model.save(tmp_path / "m.safetensors")
        loaded = load_model(tmp_path / "m.safetensors")
        assert loaded.optimizer.get_state() == model.optimizer.get_state()
        for made in (model, loaded):
            clstm.set_seed(7)
            made.fit(X, Y, epochs=3, **self.FIT)
        assert same(model.get_weights(), loaded.get_weights())

    def test_resumed(self, optimizer, tmp_path):
        whole = small(copied(optimizer))
        history = whole.fit(X, Y, epochs=5, **self.FIT).history

        class Stop(Callback):
            def on_train_batch_end(self, batch, logs=None):
                if self.model.optimizer.slots and batch == 1 and not stopped:
                    self.seen = getattr(self, "seen", 0) + 1
                    if self.seen == 4:
                        stopped.append(True)
                        raise RuntimeError

        stopped = []
        with pytest.raises(RuntimeError):
            small(copied(optimizer)).fit(X, Y, epochs=5, resume=tmp_path, callbacks=[Stop()],
                                         **self.FIT)  # fmt: skip
        for _ in range(2):  # the second finds an ended training
            again = small(copied(optimizer))
            found = again.fit(X, Y, epochs=5, resume=tmp_path, callbacks=[Stop()], **self.FIT)
            assert found.history == history and same(again.get_weights(), whole.get_weights())
            assert again.optimizer.get_state() == whole.optimizer.get_state()


class TestAverage:
    def test_fit_ends_with_it(self):
        model, path = small(O.SGD(0.1, use_ema=True, ema_momentum=0.5)), []

        class Watch(Callback):
            def on_train_batch_end(self, batch, logs=None):
                path.append(self.model.get_weights())

        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[Watch()])
        expected = path[0]
        for weights in path[1:]:
            expected = [(a + b) / 2 for a, b in zip(expected, weights, strict=True)]
        for got, want in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)

    def test_gathered_gradients_are_one_step_by_their_mean(self):
        one, four = O.Adam(0.1), O.Adam(0.1, gradient_accumulation_steps=4)
        a, b = np.ones(9), np.ones(9)
        for _ in range(5):
            grads = RNG.integers(-8, 9, (4, 9)) / 4
            one.apply(grads.mean(axis=0), a)
            for k, g in enumerate(grads):
                before = b.copy()
                four.apply(g.copy(), b)
                assert (before == b).all() == (k < 3)
        np.testing.assert_array_equal(a, b)
        assert four.iterations == 5 and four.get_state()["accumulated"] == 0

    @pytest.mark.parametrize("swap_on_epoch", [False, True])
    def test_evaluated_and_saved_in_place_of_the_weights(self, swap_on_epoch, tmp_path):
        def run(folder, epochs, *callbacks):
            model = small(O.SGD(0.1, use_ema=True, ema_momentum=0.5))
            history = model.fit(X, Y, batch_size=8, epochs=epochs, validation_data=(X, Y),
                                verbose=0, resume=tmp_path / folder, callbacks=[*callbacks])
            return model, history.history

        class Watch(Callback):
            """The weights after each epoch, and what their average then is."""

            def __init__(self):
                self.live, self.averages = [], []

            def on_epoch_end(self, epoch, logs=None):
                model = self.model
                self.live.append(model.get_weights())
                average, mine = model.optimizer.slots["average"], model._parameters.values
                kept, mine[...] = mine.copy(), average
                self.averages.append(model.get_weights())
                mine[...] = kept

        watch = Watch()
        plain, history = run("plain", 3, watch)
        save = ModelCheckpoint(tmp_path / "{epoch}", save_weights_only=True)
        swap = SwapEMAWeights(swap_on_epoch)
        model, found = run("swap", 3, swap, save)
        assert same(model.get_weights(), plain.get_weights())  # fit ends with the average anyway
        assert found["loss"] == history["loss"]
        for epoch, (live, average) in enumerate(zip(watch.live, watch.averages, strict=True), 1):
            model.set_weights(average)
            assert found["val_loss"][epoch - 1] == model.evaluate(X, Y)
            model.load_weights(tmp_path / f"{epoch}")
            assert same(model.get_weights(), average if swap_on_epoch else live)
        run("parts", 2, swap, save)
        resumed, rest = run("parts", 3, swap, save)
        assert same(resumed.get_weights(), plain.get_weights()) and rest == found
        assert not resumed.optimizer.exchanged

    def test_predicted_with_in_place_of_the_weights(self):
        model = small(O.SGD(0.1, use_ema=True))
        assert model.predict(X, callbacks=[SwapEMAWeights()]).shape == (24, 1)  # none kept yet
        for _ in range(3):
            model.train_on_batch(X, Y)
        before, plain = model.get_weights(), model.predict(X)
        found = model.predict(X, callbacks=[SwapEMAWeights()])
        assert same(before, model.get_weights()) and (plain == model.predict(X)).all()
        model.optimizer.finalize_variable_values(model._parameters.values)
        assert (found == model.predict(X)).all() and (found != plain).any()

    def test_needs_averages(self):
        model = small(O.SGD(0.1))
        for call in (lambda **k: model.fit(X, Y, **k), lambda **k: model.evaluate(X, Y, **k)):
            with pytest.raises(ValueError, match=r"SwapEMAWeights: .*use_ema=True, got SGD"):
                call(callbacks=[SwapEMAWeights()])
        assert model.optimizer.iterations == 0


class TestNTASGD:
    """Against the algorithm of the paper, in NumPy."""

    @pytest.mark.parametrize("patience", [1, 2, 5])
    def test_paper(self, patience):
        losses = [5.0, 4.0, 3.0, 3.5, 3.2, 2.9, 2.8, 3.0, 3.1, 2.85, 3.3, 3.4]
        optimizer, w = O.NTASGD(0.25, patience), np.zeros(6)
        p, logs, trigger, path = np.zeros(6), [], None, []
        for t, v in enumerate(losses):
            for _ in range(2):
                g = RNG.integers(-8, 9, 6) / 8
                optimizer.apply(g.copy(), p)
                w = w - 0.25 * g
                path.append(w)
            optimizer.observe(v)
            if trigger is None:
                if t > patience and v > min(logs[: t - patience]):
                    trigger = len(path) - 1
                logs.append(v)
        assert trigger is not None and trigger < len(path) - 2
        np.testing.assert_array_equal(p, w)
        optimizer.finalize_variable_values(p)
        np.testing.assert_allclose(p, np.mean(path[trigger:], axis=0), rtol=1e-12, atol=1e-14)

    def test_without_a_trigger_it_is_sgd(self):
        one, two = small(O.NTASGD(0.01)), small(O.SGD(0.01))
        for model in (one, two):
            clstm.set_seed(5)
            model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y))
        assert one.optimizer.averaged is None and len(one.optimizer.losses) == 3
        assert same(one.get_weights(), two.get_weights())

    def test_nan_is_no_improvement(self):
        optimizer = O.NTASGD(patience=1)
        for loss in (1.0, 0.5, float("nan")):
            assert optimizer.averaged is None
            optimizer.observe(loss)
        assert optimizer.averaged == 0

    def test_needs_validation(self):
        model = small(O.NTASGD())
        before = model.get_weights()
        with pytest.raises(ValueError, match=r"validation_data: .*NTASGD.*none"):
            model.fit(X, Y, verbose=0)
        assert same(before, model.get_weights()) and model.optimizer.iterations == 0


class TestWeightDecay:
    def test_excluded_by_name(self):
        model = small(O.SGD(0.5, weight_decay=0.5))
        model.optimizer.exclude_from_weight_decay(["bias", "^dense"])
        still = small(O.SGD(0.5))
        for made in (model, still):
            made.train_on_batch(X, Y)
        (kernel, *_), (plain, *_) = model.get_weights(), still.get_weights()
        assert not np.allclose(kernel, plain)
        decayed = [not np.array_equal(a, b)
                   for a, b in zip(model.get_weights(), still.get_weights(), strict=True)]
        assert decayed == [True, True, False, "dense" not in model.layers[1].name, False]

    def test_errors(self):
        optimizer = O.AdamW()
        with pytest.raises(TypeError, match=r"var_names: .*list of strings, got 'bias'"):
            optimizer.exclude_from_weight_decay("bias")
        with pytest.raises(ValueError, match=r"var_names: .*'\('"):
            optimizer.exclude_from_weight_decay(["("])
        optimizer.exclude_from_weight_decay(["bias"])
        p = np.ones(3)
        with pytest.raises(ValueError, match="weights: expected their names"):
            optimizer.apply(np.ones(3), p)
        assert (p == 1).all() and optimizer.iterations == 0 and not optimizer.slots


class Turns(LearningRateSchedule):
    """0.1 for 2 steps, then what is given."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return 0.1 if step < 2 else self.value


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "fast", 1j])
def test_a_schedule_that_gives_no_rate_changes_nothing(value):
    model = small(O.Adam(Turns(value)), metrics=["mae"])
    model.train_on_batch(X, Y), model.train_on_batch(X, Y)
    weights, state = model.get_weights(), clstm.random.get_state()
    slots = {k: v.copy() for k, v in model.optimizer.slots.items()}
    with pytest.raises((ValueError, TypeError), match="learning_rate: Turns at step 2: expected"):
        model.train_on_batch(X, Y)
    assert same(weights, model.get_weights()) and clstm.random.get_state() == state
    assert model.optimizer.iterations == 2
    assert all((model.optimizer.slots[k] == v).all() for k, v in slots.items())
    params = np.ones(3)
    with pytest.raises((ValueError, TypeError), match="learning_rate: "):
        optimizer = O.SGD(Turns(value), momentum=0.5)
        optimizer.iterations = 2
        optimizer.apply(np.ones(3), params)
    assert (params == 1).all() and not optimizer.slots


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: O.Adam(use_ema=1), TypeError, "use_ema: .*True or False"),
        (lambda: O.Adam(ema_momentum=1.5), ValueError, "ema_momentum: "),
        (lambda: O.Adam(ema_overwrite_frequency=0), ValueError, "ema_overwrite_frequency: "),
        (lambda: O.Adam(gradient_accumulation_steps=1), ValueError, "gradient_acc.*2, got 1"),
        (lambda: O.Adam(gradient_accumulation_steps=2.0), TypeError, "gradient_acc.*int"),
        (lambda: O.NTASGD(use_ema=True), ValueError, "use_ema: "),
        (lambda: O.NTASGD(patience=0), ValueError, "patience: "),
        (lambda: O.Lion(beta_1=0), ValueError, "beta_1: "),
        (lambda: O.Nadam(beta_2=1), ValueError, "beta_2: "),
        (lambda: O.Adadelta(rho=2), ValueError, "rho: "),
        (lambda: O.RAdam(epsilon=0), ValueError, "epsilon: "),
        (lambda: O.Adam().set_state({"iterations": -1}), ValueError, "iterations: "),
        (lambda: O.Adam().set_state({"averaged": 1}), ValueError, "state of Adam, got .*averaged"),
        (lambda: O.NTASGD().set_state({"losses": "no"}), TypeError, "losses: "),
        (lambda: O.NTASGD().set_state({"averaged": -1}), ValueError, "averaged: "),
    ],
)  # fmt: skip
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


class TestLazyAdam:
    @pytest.mark.parametrize("amsgrad", [False, True])
    def test_rows_that_a_batch_does_not_use_stay(self, amsgrad):
        """Against Adam on the used rows alone, with the same t."""
        size, row, used = 40, 6, [[3, 8], [8, 39, 0], [], [5]]
        lazy, adam = O.LazyAdam(0.1, amsgrad=amsgrad), O.Adam(0.1, amsgrad=amsgrad)
        count = size * row
        p = RNG.normal(size=4 + count + 7)
        weights = [O.Weight(0, 4, "a"), O.Weight(4, 4 + count, "table", row),
                   O.Weight(4 + count, 11 + count, "b")]  # fmt: skip
        q, table = p.copy(), slice(4, 4 + count)
        for ids in used:
            g = np.zeros_like(p)
            g[:4], g[-7:] = RNG.normal(size=4), RNG.normal(size=7)
            g[table].reshape(size, row)[ids] = RNG.normal(size=(len(ids), row))
            kept, slots = q.copy(), {k: v.copy() for k, v in adam.slots.items()}
            adam.apply(g.copy(), q)
            others = [k for k in range(size) if k not in ids]
            for now, before in [(q, kept), *((adam.slots[k], slots[k]) for k in slots)]:
                now[table].reshape(size, row)[others] = before[table].reshape(size, row)[others]
            if not slots:
                for slot in adam.slots.values():
                    slot[table].reshape(size, row)[others] = 0
            lazy.apply(g.copy(), p, weights)
            np.testing.assert_array_equal(p, q)
            for name, slot in adam.slots.items():
                np.testing.assert_array_equal(lazy.slots[name], slot)

    def test_in_a_model(self):
        ids, y = np.array([[1, 4, 1], [4, 4, 7]]), np.ones(2)

        def run(optimizer):
            clstm.set_seed(3)
            model = Sequential([Embedding(9, 4), LSTM(3), Dense(1)])
            model.compile(optimizer, "mse")
            model.build((None, 3))
            before = model.get_weights()
            for batch in (ids, ids[:1]):
                model.train_on_batch(batch, y[: len(batch)])
            return before, model.get_weights()

        before, after = run(O.LazyAdam(0.1))
        changed = (before[0] != after[0]).any(axis=1)
        assert changed.tolist() == [k in (1, 4, 7) for k in range(9)]
        _, eager = run(O.Adam(0.1))
        assert same(after[0][[1, 4]], eager[0][[1, 4]])  # in both batches
        assert (after[0][7] != eager[0][7]).any()  # Adam moves it on
