"""Makes keras_optimizers.npz with Keras 3 on PyTorch in float64:

    KERAS_BACKEND=torch python make_keras_optimizers.py

On TensorFlow the betas of Adam are rounded to float32; here the paths agree with NumPy to 1e-15. On
JAX with 64 bits all numbers are the same to 2e-8.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch
from golden_io import Writer, grid
from keras_pull import VERSIONS

# ---- D. optimizers and schedules ---------------------------------------------------------------
rng = np.random.RandomState(22)  # its own numbers, whatever stands above
STEPS = 25
START = grid(rng, 17)  # a (4, 3) and a (5,) variable, flat
# every fifth is large
GRADS = grid(rng, STEPS, 17) * np.where(np.arange(STEPS) % 5 == 2, 16, 0.5)[:, None]
SCHEDULES = {
    "exponential": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    ),
    "exponential-staircase": (
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
    "cosine": ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 40}),
    "cosine-alpha": (
        "CosineDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 40, "alpha": 0.25},
    ),
    "cosine-warmup": (
        "CosineDecay",
        {
            "initial_learning_rate": 0.01,
            "decay_steps": 30,
            "alpha": 0.1,
            "warmup_target": 0.2,
            "warmup_steps": 10,
        },
    ),
    "piecewise": ("PiecewiseConstantDecay", {"boundaries": [10, 30], "values": [1.0, 0.5, 0.125]}),
    "polynomial": (
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 20, "end_learning_rate": 0.01, "power": 2.0},
    ),
    "polynomial-cycle": (
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.1,
            "decay_steps": 20,
            "end_learning_rate": 0.01,
            "power": 2.0,
            "cycle": True,
        },
    ),
    "polynomial-defaults": ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20}),
    "inverse-time": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5},
    ),
    "cosine-restarts": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 9},
    ),
    "cosine-restarts-alpha": (
        "CosineDecayRestarts",
        {
            "initial_learning_rate": 0.1,
            "first_decay_steps": 7,
            "t_mul": 1.5,
            "m_mul": 0.5,
            "alpha": 0.25,
        },
    ),
    "cosine-restarts-even": (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 11, "t_mul": 1.0, "m_mul": 0.75},
    ),
    "inverse-time-staircase": (
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
}
OPTIMIZERS = {
    "sgd": ("SGD", {}),
    "sgd-momentum": ("SGD", {"momentum": 0.9}),
    "sgd-nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "sgd-weight_decay": ("SGD", {"learning_rate": 0.1, "weight_decay": 0.25}),
    "sgd-clipnorm": ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    "sgd-clipvalue": ("SGD", {"learning_rate": 0.1, "clipvalue": 0.3}),
    "sgd-global_clipnorm": ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.7}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop-momentum": ("RMSprop", {"rho": 0.8, "momentum": 0.9}),
    "rmsprop-centered": ("RMSprop", {"rho": 0.8, "momentum": 0.9, "centered": True}),
    "adam": ("Adam", {}),
    "adam-amsgrad": ("Adam", {"amsgrad": True}),
    "adam-betas": ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    "adam-clipnorm": ("Adam", {"clipnorm": 0.5}),
    "adam-exponential": ("Adam", {"learning_rate": "exponential"}),  # a schedule of above
    "adamw": ("AdamW", {}),
    "adamw-0.01": ("AdamW", {"learning_rate": 0.1, "weight_decay": 0.01}),
    "adagrad": ("Adagrad", {}),
    "adagrad-start": ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.5}),
    "nadam": ("Nadam", {}),
    "nadam-betas": (
        "Nadam",
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "adamax": ("Adamax", {}),
    "adamax-betas": (
        "Adamax",
        {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adadelta-rho": ("Adadelta", {"learning_rate": 1.0, "rho": 0.5, "epsilon": 1e-3}),
    "lion": ("Lion", {}),
    "lion-betas": ("Lion", {"learning_rate": 0.01, "beta_1": 0.7, "beta_2": 0.8}),
    "lamb": ("Lamb", {}),
    "lamb-weight_decay": ("Lamb", {"learning_rate": 0.01, "beta_2": 0.9, "weight_decay": 0.1}),
    "ema": ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.75}),
    "ema-overwrite": (
        "Adam",
        {
            "learning_rate": 0.1,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 4,
        },
    ),
    "accumulation": (
        "Adam",
        {"learning_rate": 0.1, "gradient_accumulation_steps": 3, "global_clipnorm": 0.7},
    ),
    "accumulation-exponential": (
        "SGD",
        {"learning_rate": "exponential", "momentum": 0.9, "gradient_accumulation_steps": 4},
    ),
    "accumulation-ema": (
        "AdamW",
        {
            "learning_rate": 0.1,
            "gradient_accumulation_steps": 2,
            "use_ema": True,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 3,
        },
    ),
    "excluded": ("AdamW", {"learning_rate": 0.1, "weight_decay": 0.25}),  # but "bias"
}
optim = Writer(
    versions=VERSIONS,
    what="parameters after each of 25 steps; learning rates at steps 0..60",
    start=START.tolist(),
    segments=[[0, 12], [12, 17]],
)
optim.add("grads", {}, {"grads": GRADS, "start": START})


def schedule_of(name):
    kind, args = SCHEDULES[name]
    return getattr(keras.optimizers.schedules, kind)(**args)


for name, (kind, args) in SCHEDULES.items():
    rates = [float(schedule_of(name)(step)) for step in range(61)]
    optim.add(f"schedule/{name}", {"schedule": kind, "args": args}, {"rates": rates})
for name, (kind, args) in OPTIMIZERS.items():
    real = dict(args)
    if isinstance(args.get("learning_rate"), str):
        real["learning_rate"] = schedule_of(args["learning_rate"])
    optimizer = getattr(keras.optimizers, kind)(**real)
    variables = [
        keras.Variable(START[:12].reshape(4, 3), name="kernel"),
        keras.Variable(START[12:], name="bias"),
    ]
    if name == "excluded":
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    path = []
    for g in GRADS:
        optimizer.apply([torch.tensor(g[:12].reshape(4, 3)), torch.tensor(g[12:])], variables)
        path.append(np.concatenate([v.numpy().ravel() for v in variables]))
    optimizer.finalize_variable_values(variables)
    end = np.concatenate([v.numpy().ravel() for v in variables]) if real.get("use_ema") else None
    optim.add(
        f"optimizer/{name}", {"optimizer": kind, "args": args}, {"path": path, "end": end}
    )
optim.write("keras_optimizers.npz")
