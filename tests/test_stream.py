"""`model.stream`: a model that is fed one step at a time."""

import tracemalloc

import numpy as np
import pytest

import clstm
from clstm import LSTM, Bidirectional, Dense, Embedding, Input, Model, Sequential
from clstm.layers import Add, Attention, Concatenate, MultiHeadAttention

VECTORS = any(isa != "scalar" for isa in clstm.config.available_isas())


def model(**options):
    clstm.set_seed(3)
    return Sequential([LSTM(20, input_shape=(None, 4), return_sequences=True, **options),
                       Dense(6, activation="relu"), LSTM(8), Dense(2)])  # fmt: skip


def sequences(rows=3, time=7):
    return np.random.default_rng(1).normal(size=(rows, time, 4)).astype(np.float32)


@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"projection": 5}])
def test_steps_give_what_the_sequence_gives(options):
    m, x = model(**options), sequences()
    stream = m.stream(3)
    for t in range(x.shape[1]):
        y = stream.step(x[:, t])
    assert y.shape == (3, 2)
    np.testing.assert_allclose(y, m.predict(x), rtol=0, atol=1e-6)


def test_steps_of_the_native_backend_have_the_same_bits():
    if not any(isa != "scalar" for isa in clstm.config.available_isas()):
        pytest.skip("this CPU has no instruction set with native kernels")
    m, x = model(), sequences()
    stream = m.stream(3)
    for t in range(x.shape[1]):
        y = stream.step(x[:, t])
    np.testing.assert_array_equal(y, m.predict(x))


def test_tokens():
    clstm.set_seed(3)
    m = Sequential([Embedding(9, 5), LSTM(6), Dense(1)])
    ids = np.array([[1, 8, 3], [0, 2, 2]])
    wanted = m.predict(ids)
    stream = m.stream(2)
    for t in range(3):
        y = stream.step(ids[:, t])
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)


def test_reset_of_some_rows_begins_new_sequences_there():
    m, x = model(), sequences()
    stream = m.stream(3)
    stream.step(x[:, 0])
    stream.reset([1])
    y = stream.step(x[:, 1])
    np.testing.assert_allclose(y[1], m.predict(x[1:2, 1:2])[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(y[2], m.predict(x[2:3, :2])[0], rtol=0, atol=1e-6)
    stream.reset()
    assert not any(a.any() for state in stream.state for a in state)


def test_the_state_can_be_kept_and_given_back():
    m, x = model(), sequences()
    stream = m.stream(3)
    stream.step(x[:, 0])
    state = stream.state
    first = stream.step(x[:, 1])
    stream.state = state
    np.testing.assert_array_equal(stream.step(x[:, 1]), first)
    state[0][0][...] = np.nan  # a copy
    assert np.isfinite(stream.step(x[:, 2])).all()


def test_the_weights_are_those_of_the_time_it_was_made():
    m, x = model(), sequences()
    stream, wanted = m.stream(3), m.predict(x[:, :1])
    for layer in m.layers:
        for weight in layer.params.values():
            weight[...] = 0
    np.testing.assert_array_equal(stream.step(x[:, 0]), wanted)


def test_wrong_uses():
    stream = model().stream(3)
    with pytest.raises(ValueError, match=r"x: expected shape \(3, 4\), got \(2, 4\)"):
        stream.step(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="state: expected 2 states"):
        stream.state = []
    with pytest.raises(ValueError, match=r"state: expected 2 states.*, got NoneType"):
        stream.state = None
    with pytest.raises(ValueError, match=r"state\[0\]: expected shape \(3, 20\)"):
        stream.state = [(np.zeros((3, 4)), np.zeros((3, 20))), (np.zeros((3, 8)),) * 2]
    with pytest.raises(ValueError, match=r"state\[1\]: expected 2 arrays.*, got tuple of 1"):
        stream.state = [(np.zeros((3, 20)), np.zeros((3, 20))), (np.zeros((3, 8)),)]
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        model().stream(0)
    with pytest.raises(ValueError, match="read step by step, without masks, got Bidir"):
        Sequential([clstm.Bidirectional(LSTM(3), input_shape=(None, 2))]).stream()
    with pytest.raises(ValueError, match="expected at least one LSTM"):
        Sequential([Dense(3, input_shape=(2,))]).stream()
    with pytest.raises(ValueError, match="expected a built one"):
        Sequential([LSTM(3)]).stream()


def test_a_stream_has_no_steps_of_padding():
    stream = Sequential([Input((None,)), Embedding(5, 3, mask_zero=True), LSTM(3)]).stream(2)
    stream.step([1, 2])
    with pytest.raises(ValueError, match="x: expected no 0, which stands for padding"):
        stream.step([1, 0])


@pytest.mark.parametrize("rows", [[3], [-1], [0.5], [True, False]])
def test_rows_to_reset_are_checked(rows):
    with pytest.raises(ValueError, match="rows: expected"):
        model().stream(3).reset(rows)


# --- graphs, with a context ----------------------------------------------------------------------

TOKENS = 11


def translator(attention):
    """Trained with the target so far beside the source; both are padded with 0."""
    clstm.set_seed(5)
    source, target = Input((None,), name="source"), Input((None,), name="target")
    states = Bidirectional(LSTM(8, return_sequences=True))(Embedding(9, 6, mask_zero=True)(source))
    _, h, c = LSTM(16, return_state=True)(states)
    x = Embedding(TOKENS, 7, mask_zero=True)(target)
    y = LSTM(16, return_sequences=True)(x, initial_state=[h, c])
    seen = attention(y, states)
    y = Dense(12, activation="tanh")(Concatenate()([y, seen]))
    return Model([source, target], Dense(TOKENS)(y))


ATTENTIONS = [Attention(), Attention("general"), Attention("additive", units=5),
              Attention(use_scale=True), MultiHeadAttention(2, 4)]  # fmt: skip


def ragged(rng, rows, time, tokens):
    """Tokens from 1 on, with 0 past each row's end."""
    x = rng.integers(1, tokens, (rows, time))
    x[np.arange(time) >= rng.integers(1, time + 1, rows)[:, None]] = 0
    return x


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda a: f"{a.name}")
def test_a_model_of_source_and_target_writes_one_step_at_a_time(attention):
    m = translator(attention)
    rng = np.random.default_rng(0)
    source, target = ragged(rng, 3, 6, 9), rng.integers(1, TOKENS, (3, 5))
    wanted = m.predict([source, target])
    stream = m.stream(3, context=source)
    same = any(isa != "scalar" for isa in clstm.config.available_isas())
    same &= getattr(attention, "score", None) != "additive"  # which NumPy computes
    for t in range(5):
        y = stream.step(target[:, t])
        np.testing.assert_allclose(y, wanted[:, t], rtol=0, atol=1e-6)
        if same:
            np.testing.assert_array_equal(y, wanted[:, t])
    stream.reset([1])
    y = stream.step(target[:, 0])
    np.testing.assert_allclose(y[1], wanted[1, 0], rtol=0, atol=1e-6)


def test_rows_of_a_stream_are_repeated_and_reordered():
    m = translator(Attention())
    rng = np.random.default_rng(0)
    source, target = ragged(rng, 2, 6, 9), rng.integers(1, TOKENS, (6, 3))
    first, stream = target[::3, 0], m.stream(2, context={"source": source})
    stream.step(first)
    wide = stream.repeat(3)
    wide.step(target[:, 1])
    wide.reorder([2, 2, 0, 3, 4, 3])
    y = wide.step(target[:, 2])
    order = np.array([2, 2, 0, 3, 4, 3])
    whole = np.stack([np.repeat(first, 3), target[order, 1], target[:, 2]], axis=1)
    wanted = m.predict([np.repeat(source, 3, axis=0), whole])[:, 2]
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="rows: expected"):
        wide.reorder([0, 1, 2, 3, 4, 6])


def test_weights_that_change_later_change_no_stream_and_none_that_repeats_it():
    m = translator(MultiHeadAttention(2, 4))
    rng = np.random.default_rng(0)
    source, target = ragged(rng, 2, 6, 9), rng.integers(1, TOKENS, (2, 2))
    stream, wanted = m.stream(2, context=source), m.predict([source, target])
    m.set_weights([w + 1 for w in m.get_weights()])
    wide = stream.repeat(2)
    for t in range(2):
        np.testing.assert_allclose(stream.step(target[:, t]), wanted[:, t], rtol=0, atol=1e-6)
        y = wide.step(np.repeat(target[:, t], 2))
        np.testing.assert_allclose(y, np.repeat(wanted[:, t], 2, axis=0), rtol=0, atol=1e-6)


def test_a_stream_does_not_copy_the_rest_of_the_model():
    source, target = Input((None,)), Input((None,))
    table = Embedding(5000, 16)
    states = LSTM(16, return_sequences=True)(table(source))
    y = LSTM(16, return_sequences=True)(Embedding(TOKENS, 7)(target))
    m = Model([source, target], Dense(TOKENS)(Attention()(y, states)))
    m.predict([np.ones((1, 4), int)] * 2)
    tracemalloc.start()
    m.stream(1, context=np.ones((1, 4), int))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < table.params["embeddings"].nbytes


def test_a_graph_without_context():
    x = Input((None, 4))
    y = LSTM(6, return_sequences=True)(x)
    m = Model(x, Dense(2)(Add()([y, LSTM(6, return_sequences=True, num_layers=2)(y)])))
    data = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    stream = m.stream(2)
    for t in range(5):
        y = stream.step(data[:, t])
    np.testing.assert_allclose(y, m.predict(data)[:, -1], rtol=0, atol=1e-6)


def test_models_that_cannot_be_fed_are_refused_by_name():
    x, other = Input((None, 4), name="x"), Input((None, 4), name="other")
    y = LSTM(4, return_sequences=True)(x)
    for layer in (Bidirectional(LSTM(3), name="both"), MultiHeadAttention(1, 2, name="self"),
                  LSTM(3, go_backwards=True, name="back")):  # fmt: skip
        with pytest.raises(ValueError, match=f"read step by step.* {layer.name!r}"):
            Model(x, layer(y)).stream()
    m = Model([other, x], Dense(1)(Attention()(y, other)))
    with pytest.raises(ValueError, match=r"context: expected values of all inputs but"):
        m.stream(1)
    with pytest.raises(ValueError, match=r"context: expected .*got \['z'\]"):
        m.stream(1, context={"z": np.zeros((1, 3, 4))})
    with pytest.raises(ValueError, match=r"context\['other'\]: expected"):
        m.stream(2, context=np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match="one output"):
        Model(x, [y, Dense(1)(y)]).stream()


@pytest.mark.parametrize("rows", [1, 16, 17])
@pytest.mark.parametrize("tokens", [9, 90])
def test_tokens_that_lstms_alone_read_have_the_same_bits(rows, tokens):
    """16 rows and 4 tokens for each feature at most go the short way."""
    clstm.set_seed(3)
    ids = Input((None,))
    table = Embedding(tokens, 5, mask_zero=True)
    x = table(ids)
    y = Add()([LSTM((6, 6), return_sequences=True)(x), LSTM(6, return_sequences=True)(x)])
    m = Model(ids, Dense(tokens)(y))
    data = np.random.default_rng(0).integers(1, tokens, (rows, 4))
    stream, wanted = m.stream(rows), m.predict(data)
    m.set_weights([w + 1 for w in m.get_weights()])
    assert bool(stream._tables) == (rows <= 16 and tokens == 9 and VECTORS)
    for dtype in ("i8", "u1", "f4"):
        stream.reset()
        for t in range(4):
            y = stream.step(data[:, t].astype(dtype))
            np.testing.assert_allclose(y, wanted[:, t], rtol=0, atol=1e-6)
            if VECTORS:
                np.testing.assert_array_equal(y, wanted[:, t])
    for wrong in (tokens, -1, 0.5, 0):
        state = stream.state
        with pytest.raises(ValueError, match=r"inputs of|x: expected no 0"):
            stream.step(np.full(rows, wrong))
        for a, b in zip(state, stream.state, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_table_that_something_else_reads_too_is_looked_up():
    clstm.set_seed(3)
    ids = Input((None,))
    x = Embedding(9, 6)(ids)
    m = Model(ids, Concatenate()([x, LSTM(6, return_sequences=True)(x)]))
    stream, data = m.stream(2), np.array([[1, 4, 3], [8, 0, 0]])
    assert not stream._tables
    for t in range(3):
        y = stream.step(data[:, t])
    np.testing.assert_allclose(y, m.predict(data)[:, -1], rtol=0, atol=1e-6)
