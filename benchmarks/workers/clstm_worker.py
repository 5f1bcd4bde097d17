"""clstm with the backend that the command line names."""

import sys

import protocol  # first: it takes stdout for itself
from cases import layer, program, train_outputs

import clstm
from clstm import LSTM, Dense, Sequential, config
from clstm import functional as F


def build(case):
    return fit(case) if case["task"] == "fit" else layer_job(case)


def layer_job(case):
    """forward: through F.pack, as weights that stay are served; variant "arrays": F.lstm."""
    a = layer(case)
    weights = (a.kernel, a.recurrent_kernel, a.bias)
    options = {"initial_state": (a.h0, a.c0), "lengths": a.lengths}
    if case["task"] == "train":

        def step():
            y, _, tape = F.lstm_forward(a.x, *weights, **options)
            return y, F.lstm_backward(tape, a.dy)

        return protocol.Job(step, lambda r: train_outputs(r[0], *r[1][:6]))
    if case.get("variant") == "arrays":
        call = lambda: F.lstm(a.x, *weights, **options)  # noqa: E731
    else:
        packed = F.pack(*weights)
        call = lambda: packed(a.x, **options)  # noqa: E731
    return protocol.Job(call, lambda r: {"y": r[0], "h": r[1][0], "c": r[1][1]})


def fit(case):
    x, y, weights = program(case)
    model = Sequential()
    model.add(LSTM(64, input_shape=x.shape[1:], return_sequences=True))
    model.add(LSTM(32))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    model.set_weights(weights)
    options = {"epochs": 1, "batch_size": case["shape"][3], "verbose": 0}
    return protocol.Job(
        lambda: model.fit(x, y, **options),
        lambda r: {"loss": r.history["loss"][0]},
        check=lambda: model.fit(x, y, shuffle=False, **options),
    )


if __name__ == "__main__":
    config.set_backend(sys.argv[1])
    protocol.serve(build, {"clstm": clstm.__version__, "isa": config.get_isa()})
