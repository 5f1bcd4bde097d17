"""Keras 3 on the backend that the command line names: its LSTM layer, jitted, and its `fit`."""

import os
import sys

import protocol  # first: it takes stdout for itself
from cases import layer, program, train_outputs

BACKEND = sys.argv[1]
os.environ["KERAS_BACKEND"] = BACKEND
if BACKEND == "tensorflow":
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(protocol.THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(protocol.THREADS)
elif BACKEND == "torch":
    import torch

    torch.set_num_threads(protocol.THREADS)
else:
    import jax

import keras  # noqa: E402


def jax_calls(run, variables):
    """forward(x, h0, c0) and train(x, h0, c0, dy) of the layer, jitted, with its weights."""
    weights = [v.value for v in variables]
    others = [v.value for v in run.non_trainable_variables]  # the seed of a dropout that is 0

    def apply(weights, x, h0, c0):
        return run.stateless_call(weights, others, x, initial_state=[h0, c0])[0]

    @jax.jit
    def step(weights, x, h0, c0, dy):
        y, pull = jax.vjp(lambda *a: apply(*a)[0], weights, x, h0, c0)
        return y, pull(dy)

    def flat(y, pulled):
        d_weights, dx, dh0, dc0 = pulled
        return y, dx, *d_weights, dh0, dc0

    forward = jax.jit(apply)
    return (lambda *a: jax.block_until_ready(forward(weights, *a)),
            lambda *a: flat(*jax.block_until_ready(step(weights, *a))))  # fmt: skip


def tensorflow_calls(run, variables):
    weights = [v.value for v in variables]

    @tf.function
    def forward(x, h0, c0):
        return run(x, initial_state=[h0, c0])

    @tf.function
    def train(x, h0, c0, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, h0, c0])
            y = run(x, initial_state=[h0, c0])[0]
        return y, *tape.gradient(y, [x, *weights, h0, c0], output_gradients=dy)

    return forward, train


def build(case):
    if case["task"] == "fit":
        return fit(case)
    if BACKEND == "torch" or case.get("lengths"):
        return None  # its LSTM on torch is torch's own operations, step by step
    a = layer(case)
    run = keras.layers.LSTM(a.h0.shape[1], return_sequences=True, return_state=True)
    run.build(a.x.shape)
    run.set_weights(a[1:4])
    forward, train = (jax_calls if BACKEND == "jax" else tensorflow_calls)(
        run, run.trainable_variables)  # fmt: skip
    arguments = [keras.ops.convert_to_tensor(array) for array in (a.x, a.h0, a.c0)]
    host = keras.ops.convert_to_numpy
    if case["task"] == "forward":
        return protocol.Job(lambda: forward(*arguments),
                            lambda r: dict(zip("yhc", map(host, r), strict=True)))  # fmt: skip
    dy = keras.ops.convert_to_tensor(a.dy)
    return protocol.Job(lambda: train(*arguments, dy), lambda r: train_outputs(*map(host, r)))


def fit(case):
    x, y, weights = program(case)
    model = keras.Sequential()
    model.add(keras.Input(x.shape[1:]))
    model.add(keras.layers.LSTM(64, return_sequences=True))
    model.add(keras.layers.LSTM(32))
    model.add(keras.layers.Dense(1, activation="sigmoid"))
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    model.set_weights(weights)
    options = {"epochs": 1, "batch_size": case["shape"][3], "verbose": 0}
    return protocol.Job(
        lambda: model.fit(x, y, **options),
        lambda r: {"loss": r.history["loss"][0]},
        check=lambda: model.fit(x, y, shuffle=False, **options),
    )


if __name__ == "__main__":
    versions = {"keras": keras.__version__, BACKEND: sys.modules[BACKEND].__version__}
    protocol.serve(build, versions)
