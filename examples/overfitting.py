"""Over-fitting, and what each of the usual remedies does to it: 100 real digits, a large LSTM.

Two LSTMs of 64 units have 52,362 weights for 100 digits read row by row: they learn these by heart.
Each remedy changes one thing. Each is tried with the same draws of 100 digits and the same seeds,
so that its difference to no remedy can be told with a standard error. Strengths were chosen on
validation digits and other seeds; the test digits are of forms that neither has.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Dense, Dropout, GaussianNoise, Sequential
from clstm.callbacks import Callback
from clstm.constraints import MaxNorm
from clstm.datasets import load_digits
from clstm.optimizers import AdamW
from clstm.regularizers import L1, L2

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

DIGITS, BATCH = 100, 20
EPOCHS, SEEDS = (6, 2) if args.quick else (60, 8)

(x, y), (x_test, y_test) = load_digits()
x_valid, y_valid, x, y = x[-260:], y[-260:], x[:-260], y[:-260]


def weights(kind, value):
    return {f"kernel_{kind}": value, f"recurrent_{kind}": value}


REMEDIES = {  # arguments of the LSTMs, but those that `train` takes
    "no remedy": {},
    "one layer": {"layers": 1},
    "16 units": {"units": 16},
    "L1 penalty": weights("regularizer", L1(1e-4)),
    "L2 penalty": weights("regularizer", L2(1e-4)),
    "weight decay": {"decay": 0.1},
    "L2 of outputs": {"activity_regularizer": L2(0.01)},
    "max-norm": weights("constraint", MaxNorm(1)),
    "dropout": {"dropped": 0.7},
    "recurrent dropout": {"recurrent_dropout": 0.2},
    "zoneout": {"zoneout_h": 0.2, "zoneout_c": 0.2},
    "noise on the inputs": {"noise": 0.4},
}


def crossentropy(p, labels):
    return float(-np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-7)).mean())


class Watch(Callback):
    """The losses after each epoch, without noise and penalties; the test digits twice."""

    def __init__(self, x, y):
        self.x, self.y, self.losses, self.best = x, y, [], None

    def on_epoch_end(self, epoch, logs=None):
        losses = [crossentropy(self.model.predict(a, verbose=0), labels)
                  for a, labels in ((self.x, self.y), (x_valid, y_valid))]  # fmt: skip
        self.losses.append(losses)
        if losses[1] == min(valid for _, valid in self.losses):
            self.best = self.accuracy()  # what stopping here would have given

    def accuracy(self):
        return float((self.model.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean())


def train(seed, layers=2, units=64, decay=None, dropped=0.0, noise=0.0, **options):
    """Losses (epochs, 2) of training and validation; accuracies at the best and last epoch."""
    clstm.set_seed(seed)
    rows = np.random.default_rng(seed).permutation(len(x))[:DIGITS]
    model = Sequential([GaussianNoise(noise)])
    for k in range(layers):
        model.add(LSTM(units, return_sequences=k < layers - 1, **options))
        model.add(Dropout(dropped))
    model.add(Dense(10, activation="softmax"))
    model.compile(AdamW(0.005, weight_decay=decay), "sparse_categorical_crossentropy")
    watch = Watch(x[rows], y[rows])
    model.fit(x[rows], y[rows], batch_size=BATCH, epochs=EPOCHS, callbacks=[watch], verbose=0)
    return np.array(watch.losses), watch.best, watch.accuracy()


print(f"{DIGITS} digits to train on, {SEEDS} draws. Test digits that are right, the difference\n"
      "to no remedy in points, ± its standard error; stopped: at the best validation loss.\n")
print(f"{'':21}{'last epoch':>10}{'difference':>15}{'stopped':>10}    loss: train  validation")
curves, last, best = {}, {}, {}
for name, options in REMEDIES.items():
    runs = [train(seed, **options) for seed in range(SEEDS)]
    curves[name] = np.mean([losses for losses, _, _ in runs], axis=0)
    best[name], last[name] = (np.array([run[k] for run in runs]) for k in (1, 2))
    difference = 100 * (last[name] - last["no remedy"])
    error = difference.std(ddof=1) / np.sqrt(SEEDS)
    words = f"{difference.mean():+.1f} ± {error:.1f}" if options else ""
    print(f"{name:21}{last[name].mean():10.1%}{words:>15}{best[name].mean():10.1%}"
          f"{curves[name][-1, 0]:15.3f}{curves[name][-1, 1]:12.2f}", flush=True)  # fmt: skip

figure = plt.figure(figsize=(12, 5.4), dpi=80, layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.75, 1))
left.suptitle("Loss by epoch: training (blue), validation (orange; grey: no remedy)", fontsize=10)
epochs = np.arange(1, EPOCHS + 1)
panels = left.subplots(3, 4, sharex=True, sharey=True)
for name, axes in zip(REMEDIES, panels.flat, strict=True):
    axes.plot(epochs, curves["no remedy"][:, 1], color="#bbbbbb")
    for column, color in ((0, "#0072b2"), (1, "#d55e00")):
        axes.plot(epochs, curves[name][:, column], color=color)
    axes.set_title(name, loc="left", fontsize=9)
    axes.set(ylim=(0, 2.4), xlim=(1, EPOCHS))
    axes.spines[["top", "right"]].set_visible(False)
for axes in panels[-1]:
    axes.set_xlabel("epoch", fontsize=9)

axes = right.subplots()
places = np.arange(len(REMEDIES))[::-1]
for place, name in zip(places, REMEDIES, strict=True):
    axes.plot(last[name], np.full(SEEDS, place), "|", color="#bbbbbb", markersize=8)
    axes.plot(last[name].mean(), place, "o", color="#d55e00", label="last epoch")
    axes.plot(best[name].mean(), place, "o", color="#009e73", fillstyle="none", label="stopped")
axes.axvline(last["no remedy"].mean(), color="#666666", linestyle=":")
axes.set_yticks(places, REMEDIES, fontsize=9)
axes.set_xlabel("share of test digits that are right\n"
                f"(mean of {SEEDS} draws; grey: each, last epoch)", fontsize=9)  # fmt: skip
handles, labels = axes.get_legend_handles_labels()
axes.legend(handles[:2], labels[:2], frameon=False, fontsize=9)
axes.spines[["top", "right"]].set_visible(False)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "overfitting.png")
print(f"\nPicture: {args.out / 'overfitting.png'}")
