import numpy as np
import pytest

import clstm
from clstm import (
    LSTM,
    Attention,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    MultiHeadAttention,
    Sequential,
    SpatialDropout1D,
    TransformerBlock,
    random,
)
from clstm.layers.dropout import dropout_mask


@pytest.fixture(autouse=True)
def as_before():
    state = random.get_state()
    yield
    random.set_state(state)


def test_the_seed_decides_the_keys():
    clstm.set_seed(5)
    first = [random.next_key() for _ in range(1000)]
    assert len(set(first)) == 1000 and all(0 <= key < 2**64 for key in first)
    clstm.set_seed(5)
    assert [random.next_key() for _ in range(1000)] == first
    clstm.set_seed(6)
    assert not set(first) & {random.next_key() for _ in range(1000)}


def test_states_go_on():
    clstm.set_seed(2**64 - 1)
    random.next_key()
    state = random.get_state()
    first = [random.next_key() for _ in range(3)]
    random.set_state(state)
    assert [random.next_key() for _ in range(3)] == first
    state["calls"] = 99  # a copy
    assert random.get_state()["calls"] == 4


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError),
     (None, TypeError)],
)  # fmt: skip
def test_bad_seeds(seed, error):
    before = random.get_state()
    with pytest.raises(error, match="seed: "):
        clstm.set_seed(seed)
    assert random.get_state() == before


def test_numpy_seeds():
    clstm.set_seed(np.uint64(2**63))
    assert random.get_state() == {"seed": 2**63, "calls": 0}


@pytest.mark.parametrize("state", [{}, {"seed": 1}, {"seed": -1, "calls": 0}, 3,
                                   {"seed": 1, "calls": -1},
                                   {"seed": 1, "calls": "a"}])  # fmt: skip
def test_bad_states(state):
    before = random.get_state()
    with pytest.raises((ValueError, TypeError), match=r"state|seed"):
        random.set_state(state)
    assert random.get_state() == before


def test_generators():
    clstm.set_seed(1)
    a, b = random.generator().random(4), random.generator().random(4)
    assert (a != b).all()
    np.testing.assert_array_equal(random.generator(3).random(4), random.generator(3).random(4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_masks(dtype):
    layer = Dropout(0.3, dtype=dtype)
    masks = {}
    threads = clstm.config.get_num_threads()
    try:
        for count in (1, 2, 3, 5):
            clstm.config.set_num_threads(count)
            clstm.set_seed(4)
            masks[count] = dropout_mask(layer, (321, 123), 0.3)
    finally:
        clstm.config.set_num_threads(threads)
    for mask in masks.values():
        np.testing.assert_array_equal(mask, masks[1])
    one = masks[1]
    assert set(np.unique(one)) == {0, np.dtype(dtype).type(1 / 0.7)}
    share = (one == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / one.size)
    assert (dropout_mask(layer, (321, 123), 0.3) != one).any()
    assert (dropout_mask(layer, (5, 5), 0.0) == 1).all()


def test_first_weights_do_not_depend_on_dtype():
    weights = []
    for dtype in ("float32", "float64"):
        clstm.set_seed(8)
        layer = clstm.LSTM(3, dtype=dtype)
        layer(np.zeros((1, 2, 2)))
        weights.append(layer.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b.astype("f4"))


def with_seeds(seed):
    model = Sequential([
        Embedding(9, 8), GaussianNoise(0.1, seed=seed), SpatialDropout1D(0.3, seed=seed),
        Bidirectional(LSTM((6, 6), return_sequences=True, dropout=0.2, recurrent_dropout=0.2,
                           layer_dropout=0.2, seed=seed)),
        TransformerBlock(2, 4, 8, dropout=0.2, seed=seed), Dropout(0.2, seed=seed),
        MultiHeadAttention(2, 4, dropout=0.2, seed=seed), LSTM(4, zoneout_h=0.2, seed=seed),
        GaussianDropout(0.2, seed=seed), Dense(1),
    ])  # fmt: skip
    model.compile("adam", "mse")
    model.build((None, 5))
    return model


@pytest.mark.parametrize("threads", [1, 3])
def test_layers_with_a_seed_draw_the_same_whatever_else_is_drawn(restore, threads):
    clstm.config.set_num_threads(threads)
    ids, y = np.arange(40).reshape(8, 5) % 9, np.ones(8)

    def losses(seed):
        clstm.set_seed(1)
        model = with_seeds(seed)
        random.set_seed(threads)  # what the layers draw does not depend on it
        return [model.train_on_batch(ids, y) for _ in range(3)]

    first = losses(7)
    random.set_seed(99)
    assert losses(7) == first != losses(8)
    assert losses(None) != first


def test_a_seed_is_no_constant_mask_and_not_that_of_the_layers_beside():
    x = np.ones((4, 6, 5), np.float32)
    layer = Dropout(0.5, seed=3)
    one, two = (layer(x, training=True) for _ in range(2))
    assert (one != two).any()
    again = Dropout(0.5, seed=3)
    assert (again(x, training=True) == one).all() and (again(x, training=True) == two).all()
    both = Bidirectional(LSTM((3, 3), dropout=0.5, seed=3))
    parts = [part for part in both.walk() if part.random_keys is not None]
    assert len(parts) == 4 and len({id(part.random_keys) for part in parts}) == 1


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError), ("a", TypeError)],
)
@pytest.mark.parametrize("make", [
    lambda seed: Dropout(0.1, seed=seed), lambda seed: LSTM(3, seed=seed),
    lambda seed: Attention(seed=seed), lambda seed: GaussianNoise(0.1, seed=seed),
    lambda seed: TransformerBlock(1, 2, 3, seed=seed),
])  # fmt: skip
def test_what_is_no_seed_of_a_layer(make, seed, error):
    with pytest.raises(error, match="seed: expected"):
        make(seed)


def test_seeds_of_layers_are_saved_and_trainings_resumed(tmp_path):
    ids, y = np.arange(40).reshape(8, 5) % 9, np.ones(8)

    def run(folder, epochs):
        clstm.set_seed(1)
        model = with_seeds(7)
        history = model.fit(ids, y, batch_size=4, epochs=epochs, verbose=0,
                            resume=tmp_path / folder).history  # fmt: skip
        return model.get_weights(), history

    whole = run("whole", 4)
    run("parts", 2)
    parts = run("parts", 4)
    assert parts[1] == whole[1]
    for a, b in zip(parts[0], whole[0], strict=True):
        np.testing.assert_array_equal(a, b)
    path = tmp_path / "m.safetensors"
    with_seeds(7).save(path)
    loaded = clstm.load_model(path)
    assert [keys.seed for keys in loaded._keys] == [7] * 8
