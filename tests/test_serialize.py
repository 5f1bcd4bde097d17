"""Objects to JSON and back; files are not trusted."""

import json

import numpy as np
import pytest

from clstm import _serialize, constraints, initializers, losses, metrics, regularizers, schedules

OBJECTS = [
    ("loss", losses.BinaryCrossentropy(True, 0.1)),
    ("loss", losses.CategoricalCrossentropy(False, 0.2)),
    ("loss", losses.SparseCategoricalCrossentropy(True, -1)),
    ("loss", losses.MeanSquaredError()),
    ("loss", losses.MeanAbsoluteError()),
    ("loss", losses.Huber(0.5)),
    ("metric", metrics.Mean("m")),
    ("metric", metrics.BinaryAccuracy("acc", threshold=0.3)),
    ("metric", metrics.CategoricalAccuracy()),
    ("metric", metrics.SparseCategoricalAccuracy()),
    ("metric", metrics.MeanSquaredError()),
    ("metric", metrics.MeanAbsoluteError()),
    ("metric", metrics.Precision(0.4, name="p")),
    ("metric", metrics.Recall()),
    ("metric", metrics.AUC(7, "PR", name="area")),
    ("initializer", initializers.Zeros()),
    ("initializer", initializers.Ones()),
    ("initializer", initializers.Constant(0.5)),
    ("initializer", initializers.RandomNormal(0.1, 0.2, 3)),
    ("initializer", initializers.RandomUniform(-1.0, 2.0, 3)),
    ("initializer", initializers.TruncatedNormal(0.1, 0.2, np.int64(3))),
    ("initializer", initializers.VarianceScaling(2.0, "fan_out", "normal", 1)),
    ("initializer", initializers.GlorotUniform(5)),
    ("initializer", initializers.Orthogonal(1.5)),
    ("initializer", initializers.OrthogonalGates(1.5, 3, 2)),
    ("initializer", initializers.Chrono(1000, 2)),
    ("initializer", initializers.Identity(2.0)),
    ("regularizer", regularizers.L1(0.1)),
    ("regularizer", regularizers.L2(0.2)),
    ("regularizer", regularizers.L1L2(0.1, 0.2)),
    ("regularizer", regularizers.OrthogonalRegularizer(0.1, "columns")),
    ("regularizer", regularizers.TemporalL2(0.3)),
    ("constraint", constraints.MaxNorm(3, (0, 1))),
    ("constraint", constraints.NonNeg()),
    ("constraint", constraints.UnitNorm(1)),
    ("constraint", constraints.MinMaxNorm(0.1, 0.9, 0.5, 1)),
    ("schedule", schedules.ExponentialDecay(0.1, 10, 0.5, True)),
    ("schedule", schedules.InverseTimeDecay(0.1, 10, 0.5)),
    ("schedule", schedules.PolynomialDecay(0.1, 10, 0.01, 2.0, True)),
    ("schedule", schedules.CosineDecay(0.1, 10, 0.1, warmup_target=0.2, warmup_steps=5)),
    ("schedule", schedules.PiecewiseConstantDecay((1, 2), (0.3, 0.2, 0.1))),
]


@pytest.mark.parametrize(("kind", "obj"), OBJECTS, ids=lambda value: type(value).__name__)
def test_round_trip(kind, obj):
    config = _serialize.to_config(obj)
    assert set(config) == {"class_name", "config"}
    text = json.dumps(config, allow_nan=False)
    again = _serialize.from_config(kind, json.loads(text))
    assert type(again) is type(obj)
    assert json.dumps(_serialize.to_config(again)) == text
    assert type(_serialize.get(kind, config)) is type(obj)
    assert _serialize.get(kind, obj) is obj


def test_every_registered_class_is_covered():
    covered = {(kind, type(obj)) for kind, obj in OBJECTS}
    same_shape = {f"{who}{what}" for who in ("Glorot", "He", "Lecun") for what in
                  ("Uniform", "Normal")}  # fmt: skip
    for module in (constraints, initializers, losses, metrics, regularizers, schedules):
        for name, cls in vars(module).items():
            if isinstance(cls, type) and cls.__module__ == module.__name__:
                kind = cls.kind
                if _serialize._CLASSES[kind].get(name) is cls and name not in same_shape:
                    assert (kind, cls) in covered


def test_round_trip_keeps_behaviour():
    before = schedules.CosineDecay(0.1, 10, 0.1, warmup_target=0.2, warmup_steps=5)
    after = _serialize.from_config("schedule", _serialize.to_config(before))
    assert [before(step) for step in range(20)] == [after(step) for step in range(20)]


@pytest.fixture
def scratch_registry(monkeypatch):
    """Registrations that end with the test."""
    for registry in (_serialize._CLASSES, _serialize._NAMES):
        for kind, names in list(registry.items()):
            monkeypatch.setitem(registry, kind, dict(names))


def test_nested_objects_and_kwargs(scratch_registry):
    class Layer(_serialize.Configurable):
        kind = "layer"

        def __init__(self, name=None, dtype="float32"):
            self.name = name
            self.dtype = dtype

    @_serialize.register("layer", "short")
    class MyLSTMLayer(Layer):
        def __init__(self, units, *, start=None, sizes=(1, 2), **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.start = initializers.get(start)
            self.sizes = tuple(sizes)

    layer = MyLSTMLayer(np.int64(3), start=initializers.Orthogonal(2.0), name="a")
    config = _serialize.to_config(layer)
    assert config == {
        "class_name": "MyLSTMLayer",
        "config": {
            "units": 3,
            "start": {"kind": "initializer", "class_name": "Orthogonal",
                      "config": {"gain": 2.0, "seed": None}},
            "sizes": [1, 2],
            "name": "a",
            "dtype": "float32",
        },
    }  # fmt: skip
    again = _serialize.from_config("layer", json.loads(json.dumps(config)))
    assert again.start.gain == 2.0 and again.sizes == (1, 2) and again.name == "a"
    for name in ("short", "my_lstm_layer", "mylstmlayer", "MyLSTMLayer"):
        with pytest.raises(ValueError, match=r"needs arguments.*units"):
            _serialize.get("layer", name)


def test_user_subclasses_are_accepted_and_saved_once_registered(scratch_registry):
    class Cubic(losses.Loss):
        pass

    cubic = Cubic()
    assert losses.get(cubic) is cubic
    with pytest.raises(ValueError, match="Cubic is not registered"):
        _serialize.to_config(cubic)
    _serialize.register("loss")(Cubic)
    assert type(losses.get("cubic")) is Cubic
    assert _serialize.to_config(cubic) == {"class_name": "Cubic", "config": {}}


def test_a_name_cannot_be_taken_over(scratch_registry):
    class Huber(losses.Loss):
        pass

    with pytest.raises(ValueError, match=r"Huber.*is taken"):
        _serialize.register("loss")(Huber)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown loss 'msee'.*'mse'"):
        losses.get("msee")
    with pytest.raises(ValueError, match=r"unknown initializer 'glorot'.*'glorot_uniform'"):
        initializers.get("glorot")
    with pytest.raises(ValueError, match=r"schedule 'cosine_decay' needs arguments"):
        schedules.get("cosine_decay")


@pytest.mark.parametrize(
    "bad", [3, 1.5, ["mse"], losses.Huber, metrics.AUC(), object(), lambda y, p: 0]
)
def test_other_types_are_refused(bad):
    with pytest.raises(TypeError, match=r"expected a loss as None, a name, .* received "):
        losses.get(bad)


NESTED = {"kind": "initializer", "class_name": "Zeros", "config": {}}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "dict with the keys"),
        ("L2", "dict with the keys"),
        ({}, "dict with the keys"),
        ({"class_name": "L2"}, "dict with the keys"),
        ({"class_name": "L2", "config": None}, "'config' of L2 as a dict"),
        ({"class_name": "L2", "config": {1: 2}}, "string keys"),
        ({"class_name": 3, "config": {}}, "class_name=3"),
        ({"class_name": ["L2"], "config": {}}, "class_name"),
        ({"class_name": "os.system", "config": {}}, "unknown regularizer.*'L1'"),
        ({"class_name": "Huber", "config": {}}, "unknown regularizer"),
        ({"class_name": "L2", "config": {}, "module": "os"}, "unknown keys.*module"),
        ({"class_name": "L2", "config": {"l3": 1}}, r"unknown keys.*l3.*known: \['l2'\]"),
        ({"class_name": "L2", "config": {"__class__": 1}}, "unknown keys"),
        ({"class_name": "L2", "config": {"self": 1}}, "unknown keys"),
        ({"class_name": "L2", "config": {"l2": "1"}}, "does not fit.*l2"),
        ({"class_name": "L2", "config": {"l2": -1}}, "l2: expected"),
        ({"class_name": "L2", "config": {"l2": NESTED}}, "does not fit.*l2"),
        ({"class_name": "L2", "config": {"l2": {**NESTED, "kind": "os"}}}, "unknown kind 'os'"),
        ({"class_name": "L2", "config": {"l2": {**NESTED, "kind": []}}}, "'kind' as a string"),
        ({"class_name": "L2", "config": {}, "kind": "loss"}, "expected a regularizer"),
    ],
)
def test_malformed_configs(config, words):
    with pytest.raises(ValueError, match=words):
        _serialize.from_config("regularizer", config)


def test_missing_and_deep_configs():
    with pytest.raises(ValueError, match=r"lacks the keys.*decay_steps"):
        _serialize.from_config("schedule", {"class_name": "CosineDecay", "config": {}})
    value = 0.01
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        _serialize.from_config("regularizer", {"class_name": "L2", "config": {"l2": value}})


def test_what_has_no_json_form():
    constant = initializers.Constant(np.ones(3))
    with pytest.raises(TypeError, match=r"Constant\.value of type ndarray"):
        _serialize.to_config(constant)
    with pytest.raises(TypeError, match="configurable object, received dict"):
        _serialize.to_config({})


def test_unknown_kinds():
    for call in (_serialize.get, _serialize.from_config):
        with pytest.raises(ValueError, match="unknown kind 'model'"):
            call("model", "x")
    with pytest.raises(ValueError, match="unknown kind"):
        _serialize.register("model")(losses.Huber)
