"""Do gradients reach what was read 200 steps ago? A plain RNN beside an LSTM, on real digits.

A digit is read pixel by pixel, 64 steps; then come 136 empty steps, and only at the last is the
model asked which digit it was. What it could learn about the pixels must come back through all of
these steps: each multiplies the gradient by a factor, which is mostly below 1 for the RNN
h_t = tanh(W x_t + U h_{t-1}), and which for the cell of an LSTM, c_t = f c_{t-1} + i g, is its
forget gate f (Hochreiter & Schmidhuber 1997; Gers et al. 2000). f depends on how its bias begins:
at 1, or spread over the time constants up to 200 steps (Tallec & Ollivier 2018).
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Dense, Sequential, gradient_health
from clstm.datasets import load_digits
from clstm.initializers import Chrono
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

STEPS, UNITS, BATCH = 200, 64, 32
EPOCHS, ROWS = (1, 16) if args.quick else (30, 64)

(x, y), (x_test, y_test) = load_digits()


def long(x):
    """Digits (N, 8, 8) as (N, 200, 2): a pixel and a sign that it is one; then nothing."""
    steps = np.zeros((len(x), STEPS, 2), np.float32)
    steps[:, :64, 0] = x.reshape(len(x), 64)
    steps[:, :64, 1] = 1
    return steps


x, x_test = long(x), long(x_test)
if args.quick:
    x, y, x_test, y_test = x[::16], y[::16], x_test[::8], y_test[::8]
cells = {
    "RNN": {"cell": "rnn"},
    "LSTM, forget bias 1": {},
    "LSTM, forget bias for 200 steps": {"bias_initializer": Chrono(STEPS)},
}
before, after, curves = {}, {}, {}
for name, options in cells.items():
    clstm.set_seed(0)
    model = Sequential()
    model.add(LSTM(UNITS, input_shape=(STEPS, 2), **options))
    model.add(Dense(10, activation="softmax"))
    adam = Adam(CosineDecay(0.005, EPOCHS * -(-len(x) // BATCH)), global_clipnorm=1.0)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    before[name] = gradient_health(model, x[:ROWS], y[:ROWS])
    history = model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, validation_data=(x_test, y_test),
                        verbose=0).history  # fmt: skip
    after[name] = gradient_health(model, x[:ROWS], y[:ROWS])
    curves[name] = history["val_accuracy"]
    print(f"\n{name}: before training, and after", before[name].summary(), after[name].summary(),
          sep="\n")  # fmt: skip

guess = np.bincount(y_test).max() / len(y_test)
print(f"\n{'':<34}first pixel's gradient / last step's      test digits that are right")
print(f"{'':<34}before training     after                 (always the same one: {guess:.1%})")
for name in cells:
    print(f"{name:<34}{before[name].layers[0].ratio:<20.1e}{after[name].layers[0].ratio:<22.1e}"
          f"{curves[name][-1]:.1%}")  # fmt: skip

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), dpi=80, layout="constrained")
for name, color in zip(cells, ("#d55e00", "#56b4e9", "#0072b2"), strict=True):
    for axes, health in ((left, before[name]), (middle, after[name])):
        gradient = health.layers[0].dc
        axes.semilogy(np.arange(1, STEPS + 1), np.maximum(gradient / gradient[-1], 1e-20),
                      color=color, label=name)  # fmt: skip
    right.plot(np.arange(1, EPOCHS + 1), curves[name], ".-", color=color,
               label=f"{curves[name][-1]:.1%}")  # fmt: skip
for axes, title in ((left, "Before training"), (middle, "After training")):
    axes.axvspan(1, 64, color="#eeeeee")
    axes.text(32, 3e-20, "pixels", ha="center")
    axes.set(xlabel="step", xlim=(1, STEPS), ylim=(1e-20, 1e3))
    axes.set_title(title, loc="left")
left.set_ylabel("gradient at a step / at the last one")
left.legend(frameon=False, fontsize=9)
right.axhline(guess, color="#666666", linestyle=":")
right.set(xlabel="epoch", ylabel="share of test digits that are right", ylim=(0, 1))
right.set_title("Which digit was it, 136 steps ago?", loc="left")
right.legend(frameon=False)
for axes in (left, middle, right):
    axes.spines[["top", "right"]].set_visible(False)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "gradient_health.png")
print(f"Picture: {args.out / 'gradient_health.png'}")
