"""Saving and loading: the same bits again, and clear errors for files that are no models."""

import json
import os
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

import clstm
from clstm import (
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    LayerNormalization,
    Masking,
    Model,
    Reshape,
    Sequential,
    TimeDistributed,
    load_model,
)
from clstm.io import tensor_file

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 5, 3)).astype("f4")
Y = (X.sum(axis=(1, 2)) > 0).astype("f4")


def small(optimizer="adam", loss="binary_crossentropy", **options):
    clstm.set_seed(1)
    made = Sequential([Input((5, 3)), LSTM(4), Dense(1, activation="sigmoid")], name="small")
    made.compile(optimizer, loss, **options)
    return made


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.clstm"


def rewrite(path, change, digest=True):
    """Change the JSON header of a saved model; the digest is made right again."""
    content, tensors = tensor_file.load(path, tensor_file.MODEL)
    content = change(content) or content
    header = content if isinstance(content, str) else json.dumps(content)
    sha = tensor_file.digest(header, tensors) if digest else "0" * 64
    save_file(tensors, path, metadata={"clstm": header, "sha256": sha})


def everything():
    """All layers, several inputs and outputs, sharing, masks, states."""
    ids, x, lengths = Input((6,), dtype="int32"), Input((5, 3)), Input((1,), dtype="int32")
    h = Embedding(9, 4, mask_zero=True, embeddings_regularizer="l2")(ids)
    h = Bidirectional(LSTM(3, return_sequences=True, dropout=0.1), merge_mode="ave")(h)
    h = LayerNormalization(epsilon=0.01)(Dropout(0.2)(h))
    h, s, c = LSTM(4, return_sequences=True, return_state=True, recurrent_dropout=0.1,
                   kernel_constraint=clstm.constraints.MaxNorm(3), use_bias=False)(h)  # fmt: skip
    shared = LSTM(4, go_backwards=True, recurrent_regularizer=clstm.regularizers.L1L2(0.1, 0.2))
    a = shared(Masking(mask_value=-1.0)(x), lengths=lengths)
    b = shared(x, initial_state=[s, c])
    a = Concatenate()([Add()([a, b]), Flatten()(Reshape((3, 5))(x))])
    steps = TimeDistributed(Dense(2, activation="tanh", kernel_initializer="he_normal"))(h)
    out = Dense(3, activation="softmax", name="out")(Activation("softsign")(a))
    return Model([ids, x, lengths], [out, steps], name="everything")


class TestTheSameAgain:
    def test_everything(self, path):
        clstm.set_seed(0)
        model = everything()
        model.compile(
            clstm.optimizers.SGD(clstm.schedules.CosineDecay(0.1, 100), momentum=0.9, clipnorm=1.0),
            loss={"out": clstm.losses.SparseCategoricalCrossentropy(ignore_class=2),
                  model.outputs[1].node.layer.name: "mse"},
            loss_weights=[1, np.float32(0.5)], metrics=[["accuracy"], [clstm.metrics.AUC(50)]],
        )  # fmt: skip
        x = [RNG.integers(0, 9, (8, 6)), X[:8], RNG.integers(0, 6, 8)]
        y = [RNG.integers(0, 3, 8), RNG.random((8, 6, 2)) < 0.5]
        model.fit(x, y, epochs=2, batch_size=4, verbose=0)
        model.save(path)
        loaded = load_model(path)
        assert loaded.get_config() == model.get_config() and loaded.name == "everything"
        for one, two in zip(model.predict(x), loaded.predict(x), strict=True):
            np.testing.assert_array_equal(one, two)
        assert loaded.evaluate(x, y) == model.evaluate(x, y)
        self.check_that_training_goes_on(model, loaded, x, y)

    @staticmethod
    def check_that_training_goes_on(model, loaded, x, y):
        runs = []
        for made in (model, loaded):
            clstm.set_seed(9)
            runs.append(made.fit(x, y, epochs=3, batch_size=4, verbose=0).history)
        assert runs[0] == runs[1]
        for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
        assert model.optimizer.iterations == loaded.optimizer.iterations

    @pytest.mark.parametrize(
        "optimizer",
        ["sgd", "adam", "adamw", "rmsprop", "adagrad", clstm.optimizers.Adam(amsgrad=True),
         clstm.optimizers.RMSprop(centered=True, momentum=0.5),
         clstm.optimizers.SGD(momentum=0.9, nesterov=True, global_clipnorm=1.0),
         clstm.optimizers.Adam(clstm.schedules.ExponentialDecay(0.1, 2, 0.5), clipvalue=0.5)],
        ids=str,
    )  # fmt: skip
    @pytest.mark.parametrize("trained", [True, False])
    def test_optimizers(self, path, optimizer, trained):
        if not isinstance(optimizer, str):
            optimizer = type(optimizer).from_config(optimizer.get_config())
        model = small(optimizer)
        if trained:
            model.fit(X, Y, epochs=2, verbose=0)
        model.save(path)
        self.check_that_training_goes_on(model, load_model(path), X, Y)

    def test_float64_and_not_compiled(self, path):
        model = Sequential([LSTM(3, dtype="float64"), Dense(1, dtype="float64")])
        model.build((None, 5, 3))
        model.save(path)
        loaded = load_model(path)
        assert loaded.optimizer is None
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.predict(X).dtype == np.float64
        with pytest.raises(ValueError, match="compile"):
            loaded.fit(X, Y)

    def test_frozen_layers_stay_frozen(self, path):
        model = small()
        model.layers[0].trainable = False
        model.compile("adam", "binary_crossentropy")
        model.fit(X, Y, verbose=0)
        model.save(path)
        loaded = load_model(path)
        assert not loaded.layers[0].trainable
        self.check_that_training_goes_on(model, loaded, X, Y)

    def test_trainable_changed_after_compile(self, path):
        """The file says what the layers say; the state of the weights that are left is kept."""
        model = small()
        model.fit(X, Y, verbose=0)
        for flags in ((True, False), (False, False), (True, True)):
            for layer, flag in zip(model.layers, flags, strict=True):
                layer.trainable = flag
            model.save(path)
            loaded = load_model(path)
            assert [layer.trainable for layer in loaded.layers] == [*flags]
            before = loaded.get_weights()
            loaded.fit(X, Y, verbose=0)
            moved = [(a != b).any() for a, b in zip(loaded.get_weights(), before, strict=True)]
            assert moved == [flags[0]] * 3 + [flags[1]] * 2

    def test_a_layer_inside_another_is_saved_once(self, path):
        x = Input((4, 3))
        dense = Dense(2)
        model = Model(x, [TimeDistributed(dense)(x), dense(Reshape((3,))(LSTM(3)(x)))])
        model.save(path)
        _, tensors = tensor_file.load(path, tensor_file.MODEL)
        assert sum(t.size for t in tensors.values()) == model.count_params()

    def test_own_layers(self, path):
        with pytest.raises(ValueError, match="Twice is not registered"):
            Sequential([Input((2,)), Twice(), Dense(1)]).save(path)
        assert not path.exists()
        model = Sequential([Input((2,)), Times(3.0), Dense(1)])
        model.save(path)
        np.testing.assert_array_equal(load_model(path).predict([[1, 2]]), model.predict([[1, 2]]))

    def test_names_do_not_matter_to_later_models(self, path):
        model = small()
        model.save(path)
        first, second = load_model(path), load_model(path)
        assert [x.name for x in first.layers] == [x.name for x in second.layers]
        first.set_weights([w * 0 for w in first.weights])
        np.testing.assert_array_equal(second.predict(X), model.predict(X))


class Twice(clstm.Layer):
    def forward(self, inputs, training=False, mask=None):
        return self.cast(inputs) * 2, None

    def backward(self, tape, d_outputs, need_dx=True):
        return d_outputs * 2


@clstm.register("layer")
class Times(clstm.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def forward(self, inputs, training=False, mask=None):
        return self.cast(inputs) * np.float32(self.factor), None

    def backward(self, tape, d_outputs, need_dx=True):
        return d_outputs * np.float32(self.factor)


class TestWriting:
    def test_paths(self, tmp_path, path):
        model = small()
        model.save(str(path))
        model.save(path)
        assert [p.name for p in tmp_path.iterdir()] == ["model.clstm"]
        with pytest.raises(FileNotFoundError, match="existing folder"):
            model.save(tmp_path / "none" / "model")
        with pytest.raises(IsADirectoryError, match="a file"):
            model.save(tmp_path)
        with pytest.raises(TypeError):
            model.save(None)
        assert [p.name for p in tmp_path.iterdir()] == ["model.clstm"]

    def test_rights_and_links(self, tmp_path, path):
        model = small()
        model.save(path)
        mask = os.umask(0)
        os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask
        path.chmod(0o640)
        link = tmp_path / "link"
        link.symlink_to(path)
        model.save(link)
        assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
        assert load_model(link).name == "small"

    def test_a_failure_leaves_the_old_file(self, tmp_path, path, monkeypatch):
        model = small()
        model.save(path)
        old = path.read_bytes()

        def fails(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="disk full"):
            model.save(path)
        assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1

    def test_not_built(self, path):
        with pytest.raises(ValueError, match=r"model: .*built"):
            Sequential([LSTM(2)]).save(path)
        assert not path.exists()

    def test_a_setting_without_json_form(self, path):
        class Own(clstm.losses.MeanSquaredError):
            pass

        with pytest.raises(ValueError, match="Own is not registered"):
            small(loss=Own()).save(path)
        assert not path.exists()

    def test_the_same_model_gives_the_same_file(self, path):
        model = small()
        model.save(path)
        first = path.read_bytes()
        load_model(path).save(path)
        assert path.read_bytes() == first


class TestBadFiles:
    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="none at"):
            load_model(tmp_path / "none")
        with pytest.raises(ValueError, match="folder"):
            load_model(tmp_path)

    @pytest.mark.parametrize(
        "data",
        [b"", b"\x80\x04K\x01.", b"PK\x03\x04" + bytes(50), bytes(100), b"\xff" * 100,
         struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2**62) + b"{}",
         struct.pack("<Q", 4000) + b"[" * 4000],
        ids=["empty", "pickle", "zip", "zeros", "ones", "no tensors", "huge header", "deep"],
    )  # fmt: skip
    def test_other_files(self, path, data):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"model\.clstm: expected a clstm model"):
            load_model(path)

    def test_other_safetensors(self, path):
        save_file({"weight": np.zeros(3, "f4")}, path)
        with pytest.raises(ValueError, match="another safetensors file"):
            load_model(path)

    def test_every_byte_is_guarded(self, path):
        small().save(path)
        data = path.read_bytes()
        rng = np.random.default_rng(0)
        header = 8 + struct.unpack("<Q", data[:8])[0]
        places = [*rng.integers(8, header, 30), *rng.integers(header, len(data), 30)]
        model = load_model(path)
        for place in places:
            broken = bytearray(data)
            broken[place] ^= 1
            path.write_bytes(broken)
            try:
                loaded = load_model(path)
            except ValueError as error:
                assert "model.clstm" in str(error)
            else:  # spaces and the like
                np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
                assert place < header

    def test_truncated(self, path):
        small().save(path)
        data = path.read_bytes()
        for size in (*range(0, 64), *range(64, len(data), 97), len(data) - 1):
            path.write_bytes(data[:size])
            with pytest.raises(ValueError, match=r"model\.clstm"):
                load_model(path)

    @pytest.mark.parametrize(
        "change",
        [
            lambda c: "[" * 100000,
            lambda c: "{",
            lambda c: "[]",
            lambda c: "null",
            lambda c: {"format": 2},
            lambda c: {"format": 1},
            lambda c: {"format": 1, "model": 3},
            lambda c: {"format": 1, "model": []},
            lambda c: {"format": 1, "model": {"layers": 3}},
            lambda c: c["model"].update(class_name="Popen"),
            lambda c: c["model"].update(class_name=[]),
            lambda c: c["model"].update(name=3),
            lambda c: c["model"].update(layers=[]),
            lambda c: c["model"]["layers"].pop(),
            lambda c: c["model"]["layers"].append(c["model"]["layers"][1]),
            lambda c: c["model"]["layers"][1].update(class_name="os.system"),
            lambda c: c["model"]["layers"][1].update(class_name="Unknown"),
            lambda c: c["model"]["layers"][1].update(config=None),
            lambda c: c["model"]["layers"][1]["config"].update(units=-1),
            lambda c: c["model"]["layers"][1]["config"].update(units="4"),
            lambda c: c["model"]["layers"][1]["config"].update(units=[4, 4]),
            lambda c: c["model"]["layers"][1]["config"].update(num_layers=2),
            lambda c: c["model"]["layers"][1]["config"].update(num_layers=10**9),
            lambda c: c["model"]["layers"][1]["config"].update(units=5),
            lambda c: c["model"]["layers"][1]["config"].update(units=10**6),
            lambda c: c["model"]["layers"][1]["config"].update(units=10**30),
            lambda c: c["model"]["layers"][1]["config"].update(units=1e300),
            lambda c: c["model"]["layers"][1]["config"].update(name="a/b"),
            lambda c: c["model"]["layers"][1]["config"].update(name=3),
            lambda c: c["model"]["layers"][1]["config"].update(dtype="float64"),
            lambda c: c["model"]["layers"][1]["config"].update(dtype={"a": 1}),
            lambda c: c["model"]["layers"][1]["config"].update(__class__="x"),
            lambda c: c["model"]["layers"][1]["config"].update(
                kernel_initializer={"kind": "layer", "class_name": "Dense",
                                    "config": {"units": 1}}),
            lambda c: c["model"]["layers"][0]["config"].update(shape=[5, 10**12]),
            lambda c: c["model"]["layers"][0]["config"].update(shape=[5]),
            lambda c: c["model"]["layers"][0]["config"].update(shape=None),
            lambda c: c.update(training=3),
            lambda c: c.update(training={}),
            lambda c: c["training"].update(iterations=-1),
            lambda c: c["training"].update(iterations="2"),
            lambda c: c["training"].update(iterations=1.5),
            lambda c: c["training"].update(optimizer={"class_name": "Evil", "config": {}}),
            lambda c: c["training"]["optimizer"]["config"].update(learning_rate=-1),
            lambda c: c["training"]["optimizer"]["config"].update(amsgrad=0, nothing=1),
            lambda c: c["training"].update(
                optimizer={"class_name": "SGD", "config": {"momentum": 0.5}}),
            lambda c: c["training"]["settings"].update(loss="evil"),
            lambda c: c["training"]["settings"].update(on_nan=3),
            lambda c: c["training"]["settings"].update(evil=3),
            lambda c: c["training"].update(settings=[]),
            lambda c: c["training"]["settings"].update(metrics=[{"kind": "metric",
                "class_name": "AUC", "config": {"num_thresholds": 10**15}}]),
        ],
    )  # fmt: skip
    def test_hostile_descriptions(self, path, change):
        model = small()
        model.fit(X, Y, verbose=0)
        model.save(path)
        rewrite(path, change)
        with pytest.raises(ValueError, match=r"model\.clstm"):
            load_model(path)

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m["nodes"][0].update(layer=99),
            lambda m: m["nodes"][0].update(layer=0),
            lambda m: m["nodes"][0].update(layer="0"),
            lambda m: m["nodes"][0].update(inputs=[]),
            lambda m: m["nodes"][0].update(inputs=[[5, 0]]),
            lambda m: m["nodes"][0].update(inputs=[[-9, 0]]),
            lambda m: m["nodes"][0].update(inputs=[[0]]),
            lambda m: m["nodes"][0].update(inputs="ab"),
            lambda m: m["nodes"][0].update(mask=[9, 9]),
            lambda m: m["nodes"].pop(),
            lambda m: m["nodes"].clear(),
            lambda m: m.update(inputs=-1),
            lambda m: m.update(inputs=99),
            lambda m: m.update(inputs="x"),
            lambda m: m.update(outputs=[]),
            lambda m: m.update(outputs=[[0, 7]]),
            lambda m: m.pop("several_outputs"),
        ],
    )
    def test_hostile_graphs(self, path, change):
        x = Input((3,))
        Model(x, Dense(1)(Dense(2)(x))).save(path)
        rewrite(path, lambda content: change(content["model"]) and None)
        with pytest.raises(ValueError, match=r"model\.clstm"):
            load_model(path)

    @pytest.mark.parametrize("depth", [100, 300, 900, 10**5])
    def test_deep_nesting_of_layers(self, path, depth):
        Sequential([Input((2, 3)), TimeDistributed(Dense(1))]).save(path)

        def nest(content):
            layer = content["model"]["layers"][1]
            content["model"]["layers"][1] = "HERE"
            begin = '{"kind": "layer", "class_name": "TimeDistributed", "config": {"layer": '
            inner = json.dumps({"kind": "layer", **layer})
            text = begin * depth + inner + "}}" * depth
            return json.dumps(content).replace('"HERE"', text)

        rewrite(path, nest)
        with pytest.raises(ValueError, match=r"model\.clstm"):
            load_model(path)

    def test_tensors_that_do_not_fit(self, path):
        model = small()
        model.fit(X, Y, verbose=0)
        model.save(path)
        content, tensors = tensor_file.load(path, tensor_file.MODEL)
        header = json.dumps(content)
        kernel = "weights/lstm"
        name = next(n for n in tensors if n.startswith(kernel) and n.endswith("/kernel"))
        slot = next(n for n in tensors if n.startswith("optimizer/m/"))
        for changes, words in (
            ({name: tensors[name].astype("f8")}, "expected float32"),
            ({name: tensors[name][:, :8]}, "expected float32"),
            ({name: None}, "fit the architecture|more weights"),
            ({"weights/more": np.zeros(1, "f4")}, "fit the architecture: more"),
            ({slot: tensors[slot].astype("f8")}, "expected float32"),
            ({slot: np.zeros((1, 1), "f4")}, "expected float32"),
            ({"optimizer/x/y": np.zeros(1, "f4")}, "optimizer's state.*x/y"),
        ):
            changed = {n: t for n, t in {**tensors, **changes}.items() if t is not None}
            changed = {n: np.ascontiguousarray(t) for n, t in changed.items()}
            save_file(changed, path, metadata={
                "clstm": header, "sha256": tensor_file.digest(header, changed)})  # fmt: skip
            with pytest.raises(ValueError, match=words):
                load_model(path)

    def test_a_wrong_digest(self, path):
        small().save(path)
        rewrite(path, lambda content: None, digest=False)
        with pytest.raises(ValueError, match=r"damaged.*SHA-256"):
            load_model(path)
