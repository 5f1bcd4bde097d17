"""Handwritten digits as sequences: how much must an LSTM see before it knows which digit it is?

Two models read the same digits, one in 8 rows of 8 pixels, one in 64 single pixels (as Le et al.
2015, arXiv 1504.00941, read MNIST). Both guess after every step, so that we can watch them make up
their minds. Settings were chosen on validation digits; the test digits are looked at once.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Dense, Dropout, Sequential
from clstm.datasets import load_digits
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

BATCH, UNITS = 64, 64
EPOCHS = 1 if args.quick else 20
COLORS = {"row by row": "#0072b2", "pixel by pixel": "#d55e00"}

# The data: the last 260 training digits, two forms, are kept for validation.

(x, y), (x_test, y_test) = load_digits()
x_valid, y_valid, x, y = x[-260:], y[-260:], x[:-260], y[:-260]


def moved(x):
    """Digits (N, 8, 8) in 9 places, each up to one pixel away: (9N, 8, 8)."""
    framed = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    return np.concatenate([framed[:, r : r + 8, c : c + 8] for r in range(3) for c in range(3)])


def flat(x):
    return x.reshape(len(x), 64)


x_all, y_all = moved(x), np.tile(y, 9)
if args.quick:
    x_all, y_all = x_all[::4], y_all[::4]


def share(guess, labels):
    return float((guess == labels).mean())


# Baselines that see the whole digit at once.

means = np.array([flat(x)[y == digit].mean(axis=0) for digit in range(10)])
distances = ((flat(x_test)[:, None] - means) ** 2).sum(axis=2)

clstm.set_seed(0)
logistic = Sequential([Dense(10, activation="softmax", input_shape=(64,))])
logistic.compile(Adam(0.01), "sparse_categorical_crossentropy")
logistic.fit(flat(x), y, epochs=EPOCHS * 2, batch_size=BATCH, verbose=0)

baselines = {
    "nearest class mean": share(distances.argmin(axis=1), y_test),
    "logistic regression": share(logistic.predict(flat(x_test)).argmax(axis=1), y_test),
}

# Two LSTMs of the same size; the label is asked for after every step.


def train(steps, rate):
    """A model that reads a digit in so many steps; probabilities (N, steps, 10) of test digits."""
    clstm.set_seed(0)
    model = Sequential()
    model.add(LSTM(UNITS, return_sequences=True, input_shape=(steps, 64 // steps)))
    model.add(LSTM(UNITS, return_sequences=True))
    model.add(Dropout(0.3))
    model.add(Dense(10, activation="softmax"))
    schedule = CosineDecay(rate, EPOCHS * -(-len(x_all) // BATCH))
    model.compile(Adam(schedule, global_clipnorm=1.0), "sparse_categorical_crossentropy")
    model.fit(x_all.reshape(-1, steps, 64 // steps), np.repeat(y_all[:, None], steps, axis=1),
              batch_size=BATCH, epochs=EPOCHS, verbose=0)  # fmt: skip
    valid, test = (model.predict(a.reshape(-1, steps, 64 // steps)) for a in (x_valid, x_test))
    return share(valid[:, -1].argmax(axis=1), y_valid), test


print(f"{len(x):,} digits to train on, in 9 places each; {len(x_test)} to test on, of other forms.")
results, curves = {}, {}
for name, steps, rate in (("row by row", 8, 0.01), ("pixel by pixel", 64, 0.005)):
    valid, results[name] = train(steps, rate)
    curves[name] = (results[name].argmax(axis=2) == y_test[:, None]).mean(axis=0)
    half = curves[name][steps // 2 - 1]
    print(f"LSTM, {name:<19} {curves[name][-1]:6.1%} of the test digits are right "
          f"({half:.1%} after half of the picture; validation {valid:.1%})")  # fmt: skip
for name, accuracy in baselines.items():
    print(f"{name:<25} {accuracy:6.1%}")

# The picture: accuracy as the pixels come in, and what the pixel reader thinks of eight digits.

figure = plt.figure(figsize=(10, 4.6), dpi=80, layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
axes = left.subplots()
for name, curve in curves.items():
    seen = 64 / len(curve) * np.arange(1, len(curve) + 1)
    axes.plot(seen, curve, ".-", markersize=5, color=COLORS[name], label=f"{name}: {curve[-1]:.1%}")
for (name, accuracy), line in zip(baselines.items(), (":", "--"), strict=True):
    axes.axhline(accuracy, color="#666666", linestyle=line, label=f"{name}: {accuracy:.1%}")
axes.set(xlabel="pixels seen, of 64", ylabel="share of test digits that are right", ylim=(0, 1.02))
axes.set_xticks(range(0, 65, 8))
axes.set_title("How early does it know?", loc="left")
axes.legend(loc="lower right", frameon=False)
axes.spines[["top", "right"]].set_visible(False)

right.suptitle("Probability of each digit, pixel by pixel (the true one in colour)", fontsize=10)
seen = np.arange(1, 65)
for k, axes in enumerate(right.subplots(4, 4, width_ratios=(1, 2, 1, 2)).reshape(8, 2)):
    digit = 5 + k if k < 5 else k - 5
    row = np.flatnonzero(y_test == digit)[1]
    axes[0].imshow(x_test[row], cmap="gray_r")
    axes[0].set_axis_off()
    axes[1].plot(seen, results["pixel by pixel"][row], color="#cccccc", linewidth=1)
    axes[1].plot(seen, results["pixel by pixel"][row, :, digit], color=COLORS["pixel by pixel"])
    axes[1].set(xlim=(1, 64), ylim=(0, 1.05), xticks=(8, 32, 64), yticks=(0, 1))
    axes[1].tick_params(labelsize=7)
    axes[1].spines[["top", "right"]].set_visible(False)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "image_recognition.png")
print(f"Picture: {args.out / 'image_recognition.png'}")
