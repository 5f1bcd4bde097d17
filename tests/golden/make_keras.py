"""Makes keras_lstm.npz, keras_layers.npz, keras_optimizers.npz with Keras 3 on JAX in float64:

    KERAS_BACKEND=jax python make_keras.py
"""

import json
import os
import platform

os.environ.setdefault("KERAS_BACKEND", "jax")
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import keras
import numpy as np
from golden_io import Writer, grid
from keras import layers

keras.config.set_floatx("float64")
VERSIONS = dict(keras=keras.__version__, jax=jax.__version__, numpy=np.__version__, dtype="float64",
                python=platform.python_version(), backend=keras.backend.backend())
rng = np.random.RandomState(20)


def set_random(layer, scale=0.5):
    layer.set_weights([grid(rng, *w.shape, scale=scale) for w in layer.get_weights()])
    return layer.get_weights()


def pull(layer, inputs, mask=None, valid=None, states=()):
    """Outputs of a layer and the gradients of sum_k sum(output_k * d_k) for random fixed d_k.

    `valid` (B, T) in the order of the outputs: d_0 is 0 at the other steps."""
    weights = [v.value for v in layer.trainable_variables]
    fixed = [v.value for v in layer.non_trainable_variables]
    kwargs = {} if mask is None else {"mask": jnp.asarray(mask)}
    integer = np.issubdtype(np.asarray(inputs).dtype, np.integer)

    def run(x, w, s):
        if len(s):
            kwargs["initial_state"] = list(s)
        out, _ = layer.stateless_call(w, fixed, inputs if integer else x, **kwargs)
        return list(out) if isinstance(out, (tuple, list)) else [out]

    states = [jnp.asarray(s) for s in states]
    x = jnp.zeros(()) if integer else jnp.asarray(inputs)
    outputs = run(x, weights, states)
    d = [grid(rng, *o.shape) for o in outputs]
    if valid is not None and d[0].ndim == 3:
        d[0] = d[0] * valid[:, :, None]
    loss = lambda *a: sum(jnp.sum(o * di) for o, di in zip(run(*a), d))
    gx, gw, gs = jax.grad(loss, argnums=(0, 1, 2))(x, weights, states)
    return outputs, d, (None if integer else gx), gw, gs


# ---- A. LSTM -----------------------------------------------------------------------------------
lstm = Writer(versions=VERSIONS, what="keras.layers.LSTM and Bidirectional: outputs, gradients",
              loss="sum(y*dy) + sum(h*dh) + sum(c*dc); dy is 0 at masked steps",
              masks="at masked steps Keras's LSTM repeats the previous output (and Bidirectional sets 0)")


def lstm_case(name, B, T, I, H, mask=None, states=True, **args):
    layer = layers.LSTM(H, return_state=True, **{"return_sequences": True, **args})
    layer.build((B, T, I))
    weights = set_random(layer)
    x = grid(rng, B, T, I, scale=2)
    s = [grid(rng, B, H), grid(rng, B, H, scale=2)] if states else []
    valid = mask if mask is None or not args.get("go_backwards") else mask[:, ::-1]
    (y, h, c), (dy, dh, dc), gx, gw, gs = pull(layer, x, mask, valid, s)
    named = lambda prefix, values: dict(zip([prefix + n for n in ("kernel", "recurrent_kernel", "bias")], values))
    states = dict(h0=s[0], c0=s[1], g_h0=gs[0], g_c0=gs[1]) if s else {}
    lstm.add(name, dict(units=H, args=args), dict(x=x, mask=mask, y=y, h=h, c=c, dy=dy, dh=dh, dc=dc, g_x=gx,
             **named("", weights), **named("g_", gw), **states))


def bidirectional_case(name, merge_mode, mask=None, return_sequences=True, B=3, T=6, I=4, H=5):
    layer = layers.Bidirectional(layers.LSTM(H, return_sequences=return_sequences), merge_mode=merge_mode)
    layer.build((B, T, I))
    weights = set_random(layer)
    x = grid(rng, B, T, I, scale=2)
    y, dy, gx, gw, _ = pull(layer, x, mask, mask)
    numbered = lambda p, values: {f"{p}{i}": v for i, v in enumerate(values)}
    lstm.add(name, dict(units=H, merge_mode=merge_mode, return_sequences=return_sequences),
             dict(x=x, mask=mask, g_x=gx, **numbered("y", y), **numbered("dy", dy),
                  **numbered("w", weights), **numbered("g_w", gw)))


MASKS = {  # the last row: every step masked in the first two, a gap at both ends in the third
    "right": np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6], bool),
    "left": np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0] * 6], bool),
    "gaps": np.array([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]], bool),
}
for size in [(3, 7, 5, 17), (2, 4, 3, 33), (1, 1, 1, 1)]:
    lstm_case("size-" + "-".join(map(str, size)), *size)
SMALL = (4, 6, 3, 5)
for states in [True, False]:
    tail = "" if states else "-no-states"
    lstm_case("small" + tail, *SMALL, states=states)
    lstm_case("no-bias" + tail, *SMALL, states=states, use_bias=False)
    lstm_case("go-backwards" + tail, *SMALL, states=states, go_backwards=True)
    for kind, mask in MASKS.items():
        lstm_case(f"mask-{kind}{tail}", *SMALL, mask, states)
        lstm_case(f"mask-{kind}-go-backwards{tail}", *SMALL, mask, states, go_backwards=True)
for kind, mask in MASKS.items():
    lstm_case(f"mask-{kind}-last-only", *SMALL, mask, False, return_sequences=False)
lstm_case("last-only", *SMALL, states=False, return_sequences=False)
lstm_case("last-only-go-backwards", *SMALL, states=False, return_sequences=False, go_backwards=True)
for activation, recurrent_activation in [("relu", "hard_sigmoid"), ("tanh", "hard_sigmoid"), ("relu", "sigmoid"),
                                         ("softsign", "sigmoid")]:
    lstm_case(f"{activation}-{recurrent_activation}", *SMALL, states=False, activation=activation,
              recurrent_activation=recurrent_activation)
for mode in ["concat", "sum", "mul", "ave", None]:
    bidirectional_case(f"bidirectional-{mode}", mode)
    bidirectional_case(f"bidirectional-{mode}-last-only", mode, return_sequences=False)
for kind, mask in MASKS.items():
    bidirectional_case(f"bidirectional-concat-mask-{kind}", "concat", mask, B=4)
    bidirectional_case(f"bidirectional-concat-mask-{kind}-last-only", "concat", mask, False, B=4)
for unit_forget_bias in [True, False]:
    layer = layers.LSTM(3, unit_forget_bias=unit_forget_bias)
    layer.build((1, 1, 2))
    lstm.add(f"initial-bias-{unit_forget_bias}", dict(units=3, args=dict(unit_forget_bias=unit_forget_bias)),
             dict(bias=layer.get_weights()[2]))
lstm.write("keras_lstm.npz")


# ---- C. other layers ---------------------------------------------------------------------------
rng = np.random.RandomState(21)  # its own numbers, whatever stands above
other = Writer(versions=VERSIONS, what="other layers: outputs, gradients of sum(y*dy)")


def layer_case(name, kind, args, x, scale=0.5):
    layer = keras.layers.TimeDistributed(layers.Dense(**args)) if kind == "TimeDistributed" else getattr(layers, kind)(**args)
    layer.build(x.shape)
    weights = set_random(layer, scale)
    (y,), (dy,), gx, gw, _ = pull(layer, x)
    names = [v.name for v in layer.trainable_variables]
    other.add(name, dict(layer=kind, args=args, weights=names),
              dict(x=x, y=y, dy=dy, g_x=gx, **{f"w{i}": w for i, w in enumerate(weights)},
                   **{f"g_w{i}": g for i, g in enumerate(gw)}))


for activation in ["linear", "relu", "sigmoid", "tanh", "softmax", "elu", "selu", "gelu", "softplus", "softsign",
                   "swish", "silu", "exponential", "hard_sigmoid", "leaky_relu"]:
    # the wide weights reach the flat parts of hard_sigmoid (|z| > 3)
    layer_case(f"dense-{activation}", "Dense", dict(units=5, activation=activation), grid(rng, 4, 3, scale=2), 2)
layer_case("dense-no-bias", "Dense", dict(units=5, use_bias=False), grid(rng, 4, 3))
layer_case("dense-3d", "Dense", dict(units=5, activation="tanh"), grid(rng, 2, 4, 3))
layer_case("layernorm", "LayerNormalization", {}, grid(rng, 4, 7, scale=2))
layer_case("layernorm-3d", "LayerNormalization", {}, grid(rng, 3, 4, 5, scale=2))
layer_case("layernorm-epsilon", "LayerNormalization", dict(epsilon=0.25), grid(rng, 4, 7, scale=2))
layer_case("layernorm-no-scale", "LayerNormalization", dict(scale=False), grid(rng, 4, 7, scale=2))
layer_case("layernorm-no-center", "LayerNormalization", dict(center=False), grid(rng, 4, 7, scale=2))
layer_case("embedding", "Embedding", dict(input_dim=7, output_dim=3), rng.randint(0, 6, (4, 5)))  # repeats; row 6 unused
layer_case("embedding-mask_zero", "Embedding", dict(input_dim=7, output_dim=3, mask_zero=True), rng.randint(0, 4, (4, 5)))
layer_case("timedistributed", "TimeDistributed", dict(units=5, activation="relu"), grid(rng, 2, 4, 3))
other.write("keras_layers.npz")


# ---- D. optimizers and schedules ---------------------------------------------------------------
rng = np.random.RandomState(22)  # its own numbers, whatever stands above
STEPS = 25
START = grid(rng, 17)  # a (4, 3) and a (5,) variable, flat
GRADS = grid(rng, STEPS, 17) * np.where(np.arange(STEPS) % 5 == 2, 16, 0.5)[:, None]  # every fifth is large
SCHEDULES = {
    "exponential": ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5)),
    "exponential-staircase": ("ExponentialDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5, staircase=True)),
    "cosine": ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=40)),
    "cosine-alpha": ("CosineDecay", dict(initial_learning_rate=0.1, decay_steps=40, alpha=0.25)),
    "cosine-warmup": ("CosineDecay", dict(initial_learning_rate=0.01, decay_steps=30, alpha=0.1, warmup_target=0.2, warmup_steps=10)),
    "piecewise": ("PiecewiseConstantDecay", dict(boundaries=[10, 30], values=[1.0, 0.5, 0.125])),
    "polynomial": ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=20, end_learning_rate=0.01, power=2.0)),
    "polynomial-cycle": ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=20, end_learning_rate=0.01, power=2.0, cycle=True)),
    "polynomial-defaults": ("PolynomialDecay", dict(initial_learning_rate=0.1, decay_steps=20)),
    "inverse-time": ("InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5)),
    "inverse-time-staircase": ("InverseTimeDecay", dict(initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5, staircase=True)),
}
OPTIMIZERS = {
    "sgd": ("SGD", {}), "sgd-momentum": ("SGD", dict(momentum=0.9)),
    "sgd-nesterov": ("SGD", dict(momentum=0.9, nesterov=True)),
    "sgd-weight_decay": ("SGD", dict(learning_rate=0.1, weight_decay=0.25)),
    "sgd-clipnorm": ("SGD", dict(learning_rate=0.1, clipnorm=0.5)),
    "sgd-clipvalue": ("SGD", dict(learning_rate=0.1, clipvalue=0.3)),
    "sgd-global_clipnorm": ("SGD", dict(learning_rate=0.1, global_clipnorm=0.7)),
    "rmsprop": ("RMSprop", {}),
    "rmsprop-momentum": ("RMSprop", dict(rho=0.8, momentum=0.9)),
    "rmsprop-centered": ("RMSprop", dict(rho=0.8, momentum=0.9, centered=True)),
    "adam": ("Adam", {}), "adam-amsgrad": ("Adam", dict(amsgrad=True)),
    "adam-betas": ("Adam", dict(learning_rate=0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3)),
    "adam-clipnorm": ("Adam", dict(clipnorm=0.5)),
    "adam-exponential": ("Adam", dict(learning_rate="exponential")),  # a schedule of above
    "adamw": ("AdamW", {}), "adamw-0.01": ("AdamW", dict(learning_rate=0.1, weight_decay=0.01)),
    "adagrad": ("Adagrad", {}), "adagrad-start": ("Adagrad", dict(learning_rate=0.1, initial_accumulator_value=0.5)),
}
optim = Writer(versions=VERSIONS, what="parameters after each of 25 steps; learning rates at steps 0..60",
               start=START.tolist(), segments=[[0, 12], [12, 17]])
optim.add("grads", {}, dict(grads=GRADS, start=START))
schedule_of = lambda name: getattr(keras.optimizers.schedules, SCHEDULES[name][0])(**SCHEDULES[name][1])
for name, (kind, args) in SCHEDULES.items():
    optim.add(f"schedule/{name}", dict(schedule=kind, args=args), dict(rates=[float(schedule_of(name)(s)) for s in range(61)]))
for name, (kind, args) in OPTIMIZERS.items():
    real = dict(args)
    if isinstance(args.get("learning_rate"), str):
        real["learning_rate"] = schedule_of(args["learning_rate"])
    optimizer = getattr(keras.optimizers, kind)(**real)
    variables = [keras.Variable(START[:12].reshape(4, 3)), keras.Variable(START[12:])]
    path = []
    for g in GRADS:
        optimizer.apply([jnp.asarray(g[:12].reshape(4, 3)), jnp.asarray(g[12:])], variables)
        path.append(np.concatenate([np.asarray(v).ravel() for v in variables]))
    optim.add(f"optimizer/{name}", dict(optimizer=kind, args=args), dict(path=path))
optim.write("keras_optimizers.npz")
