"""Optimizers beside the golden numbers: clipping, decay, schedules, errors, any size."""

import numpy as np
import pytest

from clstm import Dense, Sequential, config, schedules
from clstm import optimizers as O

RNG = np.random.default_rng(0)
ALL = [
    O.SGD, lambda **k: O.SGD(momentum=0.9, **k),
    lambda **k: O.SGD(momentum=0.9, nesterov=True, **k),
    O.RMSprop, lambda **k: O.RMSprop(momentum=0.5, centered=True, **k), O.Adam,
    lambda **k: O.Adam(amsgrad=True, **k), O.AdamW, O.Adagrad, O.Nadam, O.Adamax, O.RAdam,
    O.Adadelta, O.Lion,
    lambda **k: O.Adam(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, **k),
]  # fmt: skip
WHOLE = [*ALL, O.Lamb, lambda **k: O.SGD(gradient_accumulation_steps=2, use_ema=True, **k)]


def steps(optimizer, params, grads, weights=None):
    params = params.copy()
    for g in grads:
        optimizer.apply(g.copy(), params, weights)
    return params


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("size", [0, 1, 3, 17, 33, 8191, 20000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elements_do_not_know_each_other(make, size, dtype):
    params, grads = RNG.normal(size=size).astype(dtype), RNG.normal(size=(3, size)).astype(dtype)
    whole = steps(make(), params, grads)
    assert whole.dtype == dtype and np.isfinite(whole).all()
    if size:
        assert (whole != params).any()
        for k in (0, size // 2, size - 1):
            alone = steps(make(), params[k : k + 1], grads[:, k : k + 1])
            np.testing.assert_array_equal(alone[0], whole[k])


@pytest.mark.parametrize("make", WHOLE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_on_any_threads_and_instruction_set(make, dtype, restore):
    params = RNG.normal(size=150001).astype(dtype)
    grads = RNG.normal(size=(4, params.size)).astype(dtype)
    grads[:, ::7] = 0
    isas = [i for i in config.available_isas() if i != "scalar"] if dtype == "float32" else [None]
    found = []
    for isa in isas:
        for threads in (1, 2, 3, 5):
            if isa is not None:
                config.set_isa(isa)
            config.set_num_threads(threads)
            optimizer = make()
            found.append([steps(optimizer, params, grads), *optimizer.slots.values()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("make", WHOLE)
def test_nan_is_seen_and_stays_where_it_is(make):
    grads = np.ones((4, 40), "f4")
    grads[:, 3] = np.nan
    got = steps(make(), np.ones(40, "f4"), grads,
                [O.Weight(0, 10), O.Weight(10, 40)])  # fmt: skip
    assert np.isnan(got[3]) and np.isfinite(got[10:]).all()


@pytest.mark.parametrize("make", WHOLE)
def test_a_bowl_is_descended(make):
    rate = 10.0 if make is O.Adadelta else 0.05  # whose steps begin at sqrt(epsilon)
    optimizer, x = make(learning_rate=rate), np.array([3.0, -2.0])
    start = np.abs(x).sum()
    for _ in range(300):
        optimizer.apply(2 * x, x)
    assert np.abs(x).sum() < 0.7 * start
    assert optimizer.iterations == 300 // (optimizer.gradient_accumulation_steps or 1)


def test_clipvalue():
    got = steps(O.SGD(1.0, clipvalue=0.5), np.zeros(3), [np.array([2.0, -3.0, 0.25])])
    np.testing.assert_allclose(got, [-0.5, 0.5, -0.25])


def test_clipnorm_is_of_each_weight_and_global_clipnorm_of_all():
    g = np.array([3.0, 4.0, 0.6, 0.8])
    weights = [O.Weight(0, 2), O.Weight(2, 4)]
    got = steps(O.SGD(1.0, clipnorm=1.0), np.zeros(4), [g], weights)
    np.testing.assert_allclose(got, [-0.6, -0.8, -0.6, -0.8])
    got = steps(O.SGD(1.0, global_clipnorm=1.0), np.zeros(4), [g], weights)
    np.testing.assert_allclose(got, -g / np.linalg.norm(g))
    got = steps(O.SGD(1.0, global_clipnorm=100.0), np.zeros(4), [g], weights)
    np.testing.assert_array_equal(got, -g)


def test_clipping_bears_extremes():
    huge = np.array([3e38, 3e38], "f4")
    got = steps(O.SGD(1.0, global_clipnorm=1.0), np.zeros(2, "f4"), [huge])
    np.testing.assert_allclose(got, [-np.sqrt(0.5)] * 2, rtol=1e-6)
    zero = steps(O.SGD(1.0, clipnorm=1.0), np.zeros(2, "f4"), [np.zeros(2, "f4")])
    np.testing.assert_array_equal(zero, 0)


def test_weight_decay_is_decoupled():
    got = steps(O.SGD(0.1, weight_decay=0.5), np.array([2.0]), [np.array([1.0])])
    np.testing.assert_allclose(got, 2 * (1 - 0.05) - 0.1)


def test_adamw_is_adam_with_decay():
    grads = RNG.normal(size=(4, 5))
    one = steps(O.AdamW(0.1, weight_decay=0.02), np.ones(5), grads)
    two = steps(O.Adam(0.1, weight_decay=0.02), np.ones(5), grads)
    np.testing.assert_array_equal(one, two)


def test_schedules_are_read_at_every_step():
    rate = schedules.PiecewiseConstantDecay([1, 3], [1.0, 0.1, 0.0])
    optimizer, x, seen = O.SGD(rate), np.zeros(1), []
    for _ in range(5):
        before = x.copy()
        optimizer.apply(np.ones(1), x)
        seen.append(float(before[0] - x[0]))
    np.testing.assert_allclose(seen, [1, 1, 0.1, 0.1, 0], atol=1e-12)
    assert optimizer.current_learning_rate() == 0.0


def test_the_state_is_of_one_set_of_weights():
    optimizer = O.Adam()
    optimizer.apply(np.ones(4), np.zeros(4))
    kept = {k: v.copy() for k, v in optimizer.slots.items()}
    params = np.zeros(5)
    for bad in (params, np.zeros(3), np.zeros(4, "f4")):
        with pytest.raises(ValueError, match="optimizer: expected a new one"):
            optimizer.apply(np.ones_like(bad), bad)
    assert optimizer.iterations == 1 and not params.any()
    for name, slot in kept.items():
        np.testing.assert_array_equal(optimizer.slots[name], slot)
    with pytest.raises(ValueError, match="grads: "):
        O.SGD().apply(np.ones(3), np.zeros(4))
    with pytest.raises(ValueError, match="grads: "):
        O.SGD().apply(np.ones(4, "f4"), np.zeros(4))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: O.SGD(0), ValueError, "learning_rate: .*> 0.*0"),
        (lambda: O.SGD("fast"), TypeError, "learning_rate: .*number.*str"),
        (lambda: O.SGD(float("nan")), ValueError, "learning_rate: "),
        (lambda: O.SGD(momentum=1.5), ValueError, "momentum: "),
        (lambda: O.Adam(beta_1=-0.1), ValueError, "beta_1: "),
        (lambda: O.Adam(beta_2=1.0), ValueError, "beta_2: .*< 1"),
        (lambda: O.Adam(beta_1=1.0), ValueError, "beta_1: .*< 1"),
        (lambda: O.Adam(epsilon=0), ValueError, "epsilon: "),
        (lambda: O.RMSprop(rho=2), ValueError, "rho: "),
        (lambda: O.Adagrad(initial_accumulator_value=-1), ValueError, "initial_accumulator_"),
        (lambda: O.AdamW(weight_decay=-1), ValueError, "weight_decay: "),
        (lambda: O.SGD(clipnorm=0), ValueError, "clipnorm: "),
        (lambda: O.SGD(clipnorm=1, clipvalue=1), ValueError, "clipvalue: .*clipnorm"),
        (lambda: O.SGD(nothing=1), TypeError, "nothing"),
    ],
)  # fmt: skip
def test_errors(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_the_learning_rate_can_be_set():
    optimizer = O.Adam()
    optimizer.learning_rate = 0.5
    assert optimizer.current_learning_rate() == 0.5
    with pytest.raises(ValueError, match="learning_rate: "):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize(("make", "argument"), [
    (lambda: schedules.PiecewiseConstantDecay([3], [0.1, -1]), r"values\[1\]"),
    (lambda: schedules.PiecewiseConstantDecay([float("nan")], [0.1, 1]), r"boundaries\[0\]"),
    (lambda: schedules.ExponentialDecay(-0.1, 5, 0.5), "initial_learning_rate"),
    (lambda: schedules.ExponentialDecay(0.1, 5, -0.5), "decay_rate"),
    (lambda: schedules.InverseTimeDecay(0.1, 5, -1), "decay_rate"),
    (lambda: schedules.PolynomialDecay(0.1, 5, -1), "end_learning_rate"),
    (lambda: schedules.PolynomialDecay(0.1, 5, power=-1), "power"),
    (lambda: schedules.CosineDecay(0.1, 5, alpha=-1), "alpha"),
    (lambda: schedules.CosineDecay(0.1, 5, warmup_target=-1), "warmup_target"),
    (lambda: schedules.CosineDecay(0.1, 5, warmup_steps=-1), "warmup_steps"),
    (lambda: schedules.CosineDecayRestarts(0.1, 5, m_mul=-1), "m_mul"),
])  # fmt: skip
def test_arguments_of_schedules_that_would_go_below_zero(make, argument):
    with pytest.raises(ValueError, match=f"{argument}: expected"):
        make()


def test_a_schedule_that_goes_below_zero_is_found_before_the_first_step(tmp_path):
    class Falls(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 - 0.01 * step

    model = Sequential([Dense(1, input_shape=(2,))])
    model.compile(O.SGD(Falls()), "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"learning_rate: Falls at step 11: expected .*>= 0"):
        model.fit(np.ones((12, 2)), np.ones((12, 1)), batch_size=2, epochs=2, verbose=0,
                  resume=tmp_path / "run")  # fmt: skip
    assert model.optimizer.iterations == 0 and not list(tmp_path.iterdir())
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.fit(np.ones((12, 2)), np.ones((12, 1)), batch_size=2, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="learning_rate: Falls at step 11"):
        model.fit(((np.ones((2, 2)), np.ones((2, 1))) for _ in range(9)), verbose=0)
    assert model.optimizer.iterations == 11  # the whole steps before it
