"""Handwritten digits, drawn pixel by pixel: an LSTM is told which digit, and invents one.

The model reads a picture in 64 steps. At each it sees the class, the place, and the pixels already
drawn around it, and gives the distribution of the next pixel over the 17 grey levels: so
p(picture | class) is a product of 64 terms (as van den Oord et al. 2016, arXiv 1601.06759).
To draw, sample one pixel after the other.
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

LEVELS, UNITS, BATCH = 17, 96, 32
EPOCHS = 2 if args.quick else 40
PER_CLASS = 10  # digits to draw of each class
rng = np.random.default_rng(0)


def levels(x):
    """Grey levels 0..16 of pixels in 0..1."""
    return np.rint(16 * x).astype(int).reshape(len(x), 64)


def inputs(pixels, y):
    """What the model sees before each pixel (N, 64): class, column, row, and 4 pixels near by.

    A pixel enters as its level and as whether it is empty. None of them comes later than the one
    to be predicted: the left one, and three of the row above.
    """
    framed = np.pad(pixels.reshape(-1, 8, 8) / 16, ((0, 0), (1, 0), (1, 1)))
    near = np.stack([framed[:, 1:, :8], *(framed[:, :8, c : c + 8] for c in range(3))], axis=3)
    near = near.reshape(-1, 64, 4)
    place = np.concatenate([np.tile(np.eye(8), (8, 1)), np.repeat(np.eye(8), 8, axis=0)], axis=1)
    given = np.repeat(np.eye(10)[y][:, None], 64, axis=1)
    every = np.broadcast_to(place, (len(y), 64, 16))
    return np.concatenate([given, every, near, near == 0], axis=2).astype(np.float32)


(x, y), (x_test, y_test) = load_digits()
pixels, pixels_test = levels(x), levels(x_test)

# The baseline: each pixel by itself, a histogram of its levels for each class, with a little added
# to every level (how little: what served best on the last 260 training digits).


def histograms(pixels, y, added):
    counts = np.array([[np.bincount(column, minlength=LEVELS) for column in pixels[y == digit].T]
                       for digit in range(10)]) + added  # fmt: skip
    return counts / counts.sum(axis=2, keepdims=True)  # (10, 64, 17)


def bits(probabilities, pixels):
    """Mean -log2 of the probability (N, 64, 17) of what is there."""
    there = np.take_along_axis(probabilities, pixels[:, :, None], axis=2)
    return float(-np.log2(there).mean())


held = slice(-260, None)
added = min(2.0 ** np.arange(-6, 3), key=lambda a: bits(
    histograms(pixels[:-260], y[:-260], a)[y[held]], pixels[held]))  # fmt: skip
independent = histograms(pixels, y, added)

# The model.

clstm.set_seed(0)
model = Sequential()
model.add(LSTM(UNITS, return_sequences=True, input_shape=(64, 34), dropout=0.1))
model.add(LSTM(UNITS, return_sequences=True))
model.add(Dropout(0.4))
model.add(Dense(LEVELS, activation="softmax"))
schedule = CosineDecay(0.005, EPOCHS * -(-len(x) // BATCH))
model.compile(Adam(schedule, global_clipnorm=1.0), "sparse_categorical_crossentropy")
model.fit(inputs(pixels, y), pixels, batch_size=BATCH, epochs=EPOCHS, verbose=0)

found = bits(model.predict(inputs(pixels_test, y_test)), pixels_test)
base = bits(independent[y_test], pixels_test)
print("Held-out digits, bits per pixel (17 grey levels; uniform: 4.09)")
print(f"  each pixel by itself, by class   {base:.3f}")
print(f"  LSTM                             {found:.3f}")

# Draw: the stream is fed one step at a time, and the pixel that is drawn goes into the next.


def draw(probabilities):
    """A level of each row of (N, 17)."""
    return (probabilities.cumsum(axis=1) < rng.random((len(probabilities), 1))).sum(axis=1).clip(
        max=LEVELS - 1)  # fmt: skip


classes = np.repeat(np.arange(10), PER_CLASS)
drawn = np.zeros((len(classes), 64), int)
stream = model.stream(batch_size=len(classes))
for t in range(64):
    drawn[:, t] = draw(stream.step(inputs(drawn, classes)[:, t]))
simple = np.stack([draw(independent[classes, t]) for t in range(64)], axis=1)

# Does another model, which reads real digits row by row, recognise them?


def rows(pixels):
    return pixels.reshape(-1, 8, 8) / 16


judge = Sequential([LSTM(64, input_shape=(8, 8)), Dropout(0.3), Dense(10, activation="softmax")])
judge.compile(Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
judge.fit(rows(pixels), y, epochs=3 if args.quick else 30, verbose=0)
scores = {
    "real test digits": judge.evaluate(rows(pixels_test), y_test, verbose=0)[1],
    "LSTM": judge.evaluate(rows(drawn), classes, verbose=0)[1],
    "each pixel by itself": judge.evaluate(rows(simple), classes, verbose=0)[1],
}
print("Recognised by a classifier of real digits")
for name, score in scores.items():
    print(f"  {name:<32} {score:.1%}")

# The picture: a class in each column.

figure, panels = plt.subplots(1, 3, figsize=(11, 4.3), dpi=80, layout="constrained")
real = np.concatenate([pixels_test[y_test == digit][:PER_CLASS] for digit in range(10)])
for axes, images, title in zip(panels, (real, drawn, simple), (
        f"Real test digits\n{scores['real test digits']:.0%} recognised",
        f"Drawn by the LSTM, {found:.2f} bits per pixel\n{scores['LSTM']:.0%} recognised",
        f"Each pixel by itself, {base:.2f} bits per pixel\n"
        f"{scores['each pixel by itself']:.0%} recognised"), strict=True):  # fmt: skip
    framed = np.pad(images.reshape(10, PER_CLASS, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
    axes.imshow(framed.transpose(1, 2, 0, 3).reshape(10 * PER_CLASS, 100), cmap="gray_r")
    axes.set_title(title, fontsize=11)
    axes.set(xticks=np.arange(4.5, 100, 10), xticklabels=range(10), yticks=[])
    axes.tick_params(length=0)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "image_generation.png")
print(f"Picture: {args.out / 'image_generation.png'}")
