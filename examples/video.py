"""Two handwritten digits fly about and bounce off the walls: what will the next frames show?

An LSTM reads a film frame by frame, 16 x 16 pixels each, and gives the next frame. It sees pixels
alone: what a digit is, where it is going and what a wall does are for it to find out (as Srivastava
et al. 2015, arXiv 1502.04681, with larger ones). For more than one frame ahead it is fed its own.
Films to learn from are made as they are needed, of training digits; the test films show others.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Dense, Sequential
from clstm.datasets import load_digits
from clstm.losses import BinaryCrossentropy
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

SIDE, GIVEN, AHEAD, UNITS, BATCH = 16, 10, 10, 256, 32
STEPS, TESTS = (30, 50) if args.quick else (4000, 500)

(digits, _), (digits_test, _) = load_digits()


def films(digits, count, rng):
    """Films (count, GIVEN + AHEAD, 256) of two digits, drawn by their brighter pixel."""
    frames, room = GIVEN + AHEAD, SIDE - 8
    start = rng.uniform(0, room, (count, 2, 1, 2))
    angle, speed = rng.uniform(0, 2 * np.pi, (count, 2, 1)), rng.uniform(0.7, 1.4, (count, 2, 1))
    step = speed[..., None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    place = (start + step * np.arange(frames)[:, None]) % (2 * room)  # as if there were no walls
    place = np.rint(np.where(place > room, 2 * room - place, place)).astype(int)
    film = np.zeros((count, frames, SIDE, SIDE), np.float32)
    shown = digits[rng.integers(len(digits), size=(count, 2))]
    n, t, r, c = np.ix_(range(count), range(frames), range(8), range(8))
    for k in range(2):
        rows, columns = (place[:, k, :, axis, None, None] for axis in (0, 1))
        at = n, t, rows + r, columns + c
        film[at] = np.maximum(film[at], shown[:, k, None])
    return film.reshape(count, frames, SIDE * SIDE)


clstm.set_seed(0)
model = Sequential()
model.add(LSTM(UNITS, return_sequences=True, input_shape=(None, SIDE * SIDE)))
model.add(LSTM(UNITS, return_sequences=True))
model.add(Dense(SIDE * SIDE))
adam = Adam(CosineDecay(0.005, STEPS), global_clipnorm=1.0)
model.compile(adam, BinaryCrossentropy(from_logits=True))

rng = np.random.default_rng(0)
batches = (films(digits, BATCH, rng) for _ in range(STEPS))
model.fit(((film[:, :-1], film[:, 1:]) for film in batches), verbose=0)

# Ten frames are given, ten foreseen: the stream reads each frame that it gave.

test = films(digits_test, TESTS, np.random.default_rng(1))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


foreseen = np.empty((TESTS, AHEAD, SIDE * SIDE), np.float32)
stream = model.stream(batch_size=TESTS)
for t in range(GIVEN):
    frame = sigmoid(stream.step(test[:, t]))
for t in range(AHEAD):
    foreseen[:, t] = frame
    frame = sigmoid(stream.step(frame))

truth = test[:, GIVEN:]
blank = films(digits, 500, np.random.default_rng(2)).mean(axis=(0, 1))


def errors(frames):
    """Of each frame ahead, the squared error over that of the mean frame: 100% knows nothing."""
    return ((frames - truth) ** 2).mean(axis=(0, 2)) / ((blank - truth) ** 2).mean(axis=(0, 2))


curves = {
    "the last frame stays": errors(np.repeat(test[:, GIVEN - 1 : GIVEN], AHEAD, axis=1)),
    "LSTM, fed its own frames": errors(foreseen),
    "LSTM, fed the true frames": errors(sigmoid(model.predict(test[:, :-1]))[:, GIVEN - 1 :]),
}
print(f"Squared error of foreseen frames of {TESTS} films with new digits (the mean frame: 100%)")
print(f"  frames ahead {'':<15}" + "".join(f"{k:>7}" for k in (1, 2, 3, 5, 10)))
for name, curve in curves.items():
    print(f"  {name:<28}" + "".join(f"{curve[k - 1]:>7.0%}" for k in (1, 2, 3, 5, 10)))

# The picture: two films, and the error by how far ahead.

figure = plt.figure(figsize=(12, 4.6), dpi=80, layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1.9, 1))
shown = (GIVEN - 3, GIVEN - 1, GIVEN, GIVEN + 1, GIVEN + 2, GIVEN + 4, GIVEN + 6, GIVEN + 9)
panels = left.subplots(4, len(shown))
for row in range(4):
    film = row // 2
    for axes, t in zip(panels[row], shown, strict=True):
        own = row % 2
        frames = np.concatenate([test[film, :GIVEN], foreseen[film]]) if own else test[film]
        axes.imshow(frames[t].reshape(SIDE, SIDE), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        if row == 0:
            axes.set_title(f"{t - GIVEN + 1:+d}" if t >= GIVEN else "given", fontsize=10)
    panels[row, 0].set_ylabel("foreseen" if row % 2 else "true", fontsize=10)

axes = right.subplots()
for (name, curve), style in zip(curves.items(), ("C1s--", "C0o-", "C0o:"), strict=True):
    axes.plot(np.arange(1, AHEAD + 1), 100 * curve, style, label=name)
axes.axhline(100, color="#666666", linestyle=":", label="the mean frame")
axes.set(xlabel="frames ahead", ylabel="squared error, % of the mean frame's", ylim=(0, None))
axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.68))
axes.spines[["top", "right"]].set_visible(False)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "video.png")
print(f"Picture: {args.out / 'video.png'}")
