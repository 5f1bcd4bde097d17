"""Makes keras_attention.npz with Keras 3 on TensorFlow in float64:

    KERAS_BACKEND=tensorflow python make_keras_attention.py

Every row has a valid key, and the gradients are of queries that are valid: elsewhere Keras draws
the mean of all values, where ours gives 0.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np
import tensorflow as tf
from golden_io import Writer, grid
from keras import layers, ops
from keras_pull import VERSIONS, numbered, set_random

rng = np.random.RandomState(21)
out = Writer(versions=VERSIONS, what="attention layers: outputs, scores, gradients of sum(y*dy)")
B, TQ, TK = 3, 4, 5
QUERY_MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
KEY_MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool)


def case(name, kind, args, shapes, masked=False, causal=False):
    """shapes: of query, value and key, or of one input for all."""
    layer = getattr(layers, kind)(**args)
    x = [tf.constant(grid(rng, *s, scale=2)) for s in shapes]
    valid = np.ones(shapes[0][:2], bool)
    if kind == "MultiHeadAttention":
        inputs = (x * 2)[:2] if len(x) == 1 else x
        options = {"return_attention_scores": True, "use_causal_mask": causal}
        if masked:
            valid = QUERY_MASK
            options |= {"query_mask": ops.convert_to_tensor(QUERY_MASK),
                        "value_mask": ops.convert_to_tensor(KEY_MASK)}  # fmt: skip
    else:
        inputs = ((x * 2)[:2] if len(x) == 1 else x,)
        options = {"return_attention_scores": True, "use_causal_mask": causal}
        if masked:
            valid = QUERY_MASK
            options["mask"] = [ops.convert_to_tensor(m) for m in (QUERY_MASK, KEY_MASK)]
    layer(*inputs, **options)
    weights = set_random(layer, rng)
    wanted = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, scores = layer(*inputs, **options)
        dy = grid(rng, *y.shape) * valid[..., None]
        loss = tf.reduce_sum(y * dy)
    gradients = tape.gradient(loss, [*x, *wanted])
    out.add(
        name,
        {"layer": kind, "args": args, "masked": masked, "causal": causal},
        dict(
            y=y.numpy(),
            scores=scores.numpy(),
            dy=dy,
            **numbered("x", [a.numpy() for a in x]),
            **numbered("w", weights),
            **numbered("g_x", [g.numpy() for g in gradients[: len(x)]]),
            **numbered("g_w", [g.numpy() for g in gradients[len(x) :]]),
        ),
    )


QUERY, VALUE, KEY = (B, TQ, 6), (B, TK, 5), (B, TK, 4)
HEADS = {"num_heads": 2, "key_dim": 4}  # Keras rounds 1 / sqrt(key_dim) to float32
for name, args in {
    "plain": HEADS,
    "value_dim": HEADS | {"value_dim": 5},
    "no_bias": HEADS | {"use_bias": False},
}.items():
    for causal in (False, True):
        tail = "-causal" if causal else ""
        case(f"heads-{name}-self{tail}", "MultiHeadAttention", args, [QUERY], causal=causal)
        case(f"heads-{name}-two{tail}", "MultiHeadAttention", args, [QUERY, VALUE], causal=causal)
        case(f"heads-{name}-masked{tail}", "MultiHeadAttention", args, [QUERY, VALUE, KEY], True,
             causal)  # fmt: skip
for kind, options in (("Attention", {"use_scale": False}), ("Attention", {"use_scale": True}),
                      ("AdditiveAttention", {"use_scale": True})):  # fmt: skip
    for causal in (False, True):
        tail = f"{'-scaled' if options['use_scale'] else ''}{'-causal' if causal else ''}"
        same = (B, TK, 6)
        case(f"{kind}-self{tail}", kind, options, [QUERY], causal=causal)
        case(f"{kind}-two{tail}", kind, options, [QUERY, same], causal=causal)
        case(f"{kind}-masked{tail}", kind, options, [QUERY, VALUE, same], True, causal)
out.write("keras_attention.npz")
