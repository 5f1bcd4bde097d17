"""Makes keras_lstm.npz and keras_layers.npz with Keras 3 on TensorFlow in float64:

    KERAS_BACKEND=tensorflow python make_keras_layers.py

On JAX and PyTorch Keras 3.15 has float64 x float64 = float32: ops.matmul and others round. On
TensorFlow only gelu and leaky_relu have float32 constants (errors of 1e-8).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np
from golden_io import Writer, grid
from keras import layers
from keras_pull import VERSIONS, numbered, pull, set_random

rng = np.random.RandomState(20)

# ---- A. LSTM -----------------------------------------------------------------------------------
lstm = Writer(
    versions=VERSIONS,
    what="keras.layers.LSTM and Bidirectional: outputs, gradients",
    loss="sum(y*dy) + sum(h*dh) + sum(c*dc); dy is 0 at masked steps",
    masks="at masked steps Keras's LSTM repeats the previous output (and Bidirectional sets 0)",
)


def lstm_case(name, B, T, I, H, mask=None, states=True, **args):
    layer = layers.LSTM(H, return_state=True, **{"return_sequences": True, **args})
    layer.build((B, T, I))
    weights = set_random(layer, rng)
    x = grid(rng, B, T, I, scale=2)
    s = [grid(rng, B, H), grid(rng, B, H, scale=2)] if states else []
    valid = mask if mask is None or not args.get("go_backwards") else mask[:, ::-1]
    (y, h, c), (dy, dh, dc), gx, gw, gs = pull(layer, rng, x, mask, valid, s)
    names = ["kernel", "recurrent_kernel", "bias"][: len(weights)]
    states = {"h0": s[0], "c0": s[1], "g_h0": gs[0], "g_c0": gs[1]} if s else {}
    lstm.add(
        name,
        {"units": H, "args": args},
        dict(
            x=x,
            mask=mask,
            y=y,
            h=h,
            c=c,
            dy=dy,
            dh=dh,
            dc=dc,
            g_x=gx,
            **dict(zip(names, weights, strict=False)),
            **dict(zip(["g_" + n for n in names], gw, strict=False)),
            **states,
        ),
    )


def bidirectional_case(name, merge_mode, mask=None, return_sequences=True, B=3, T=6, I=4, H=5):
    layer = layers.Bidirectional(
        layers.LSTM(H, return_sequences=return_sequences), merge_mode=merge_mode
    )
    layer.build((B, T, I))
    weights = set_random(layer, rng)
    x = grid(rng, B, T, I, scale=2)
    y, dy, gx, gw, _ = pull(layer, rng, x, mask, mask)
    lstm.add(
        name,
        {"units": H, "merge_mode": merge_mode, "return_sequences": return_sequences},
        dict(
            x=x,
            mask=mask,
            g_x=gx,
            **numbered("y", y),
            **numbered("dy", dy),
            **numbered("w", weights),
            **numbered("g_w", gw),
        ),
    )


MASKS = {  # the last row: every step masked in the first two, a gap at both ends in the third
    "right": np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6], bool),
    "left": np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0] * 6], bool),
    "gaps": np.array(
        [[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 0, 0]], bool
    ),
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
for activation, recurrent_activation in [
    ("relu", "hard_sigmoid"),
    ("tanh", "hard_sigmoid"),
    ("relu", "sigmoid"),
    ("softsign", "sigmoid"),
]:
    lstm_case(
        f"{activation}-{recurrent_activation}",
        *SMALL,
        states=False,
        activation=activation,
        recurrent_activation=recurrent_activation,
    )
for mode in ["concat", "sum", "mul", "ave", None]:
    bidirectional_case(f"bidirectional-{mode}", mode)
    bidirectional_case(f"bidirectional-{mode}-last-only", mode, return_sequences=False)
for kind, mask in MASKS.items():
    bidirectional_case(f"bidirectional-concat-mask-{kind}", "concat", mask, B=4)
    bidirectional_case(f"bidirectional-concat-mask-{kind}-last-only", "concat", mask, False, B=4)
for unit_forget_bias in [True, False]:
    layer = layers.LSTM(3, unit_forget_bias=unit_forget_bias)
    layer.build((1, 1, 2))
    lstm.add(
        f"initial-bias-{unit_forget_bias}",
        {"units": 3, "args": {"unit_forget_bias": unit_forget_bias}},
        {"bias": layer.get_weights()[2]},
    )
lstm.write("keras_lstm.npz")


# ---- C. other layers ---------------------------------------------------------------------------
other = Writer(versions=VERSIONS, what="other layers: outputs, gradients of sum(y*dy)")


def layer_case(name, kind, args, x, scale=0.5):
    if kind == "TimeDistributed":
        layer = layers.TimeDistributed(layers.Dense(**args))
    else:
        layer = getattr(layers, kind)(**args)
    layer.build(x.shape)
    weights = set_random(layer, rng, scale)
    (y,), (dy,), gx, gw, _ = pull(layer, rng, x)
    names = [v.name for v in layer.trainable_variables]
    other.add(
        name,
        {"layer": kind, "args": args, "weights": names},
        dict(x=x, y=y, dy=dy, g_x=gx, **numbered("w", weights), **numbered("g_w", gw)),
    )


for activation in [
    "linear",
    "relu",
    "sigmoid",
    "tanh",
    "softmax",
    "elu",
    "selu",
    "gelu",
    "softplus",
    "softsign",
    "swish",
    "silu",
    "exponential",
    "hard_sigmoid",
    "leaky_relu",
]:
    # the wide weights reach the flat parts of hard_sigmoid (|z| > 3)
    layer_case(
        f"dense-{activation}",
        "Dense",
        {"units": 5, "activation": activation},
        grid(rng, 4, 3, scale=2),
        2,
    )
layer_case("dense-no-bias", "Dense", {"units": 5, "use_bias": False}, grid(rng, 4, 3))
layer_case("dense-3d", "Dense", {"units": 5, "activation": "tanh"}, grid(rng, 2, 4, 3))
layer_case("layernorm", "LayerNormalization", {}, grid(rng, 4, 7, scale=2))
layer_case("layernorm-3d", "LayerNormalization", {}, grid(rng, 3, 4, 5, scale=2))
layer_case("layernorm-epsilon", "LayerNormalization", {"epsilon": 0.25}, grid(rng, 4, 7, scale=2))
layer_case("layernorm-no-scale", "LayerNormalization", {"scale": False}, grid(rng, 4, 7, scale=2))
layer_case("layernorm-no-center", "LayerNormalization", {"center": False}, grid(rng, 4, 7, scale=2))
# repeated ids, and row 6 unused
layer_case("embedding", "Embedding", {"input_dim": 7, "output_dim": 3}, rng.randint(0, 6, (4, 5)))
layer_case(
    "embedding-mask_zero",
    "Embedding",
    {"input_dim": 7, "output_dim": 3, "mask_zero": True},
    rng.randint(0, 4, (4, 5)),
)
layer_case(
    "timedistributed", "TimeDistributed", {"units": 5, "activation": "relu"}, grid(rng, 2, 4, 3)
)
other.write("keras_layers.npz")
