"""Two handwritten digits fly about and bounce off the walls: what will the next frames show?

An LSTM reads a film frame by frame, 16 x 16 pixels each, and gives the next frame. It sees pixels
alone: what a digit is, where it is going, and what a wall does are for it to find out (as Srivastava
et al. 2015, arXiv 1502.04681, with larger ones). For more than one frame ahead it is fed its own.
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
STEPS = 30 if args.quick else 3000

(digits, _), (digits_test, _) = load_digits()


def films(digits, count, rng):
    """Films (count, GIVEN + AHEAD, 256) of two digits, drawn by their brighter pixel."""
    frames = GIVEN + AHEAD
    room = SIDE - 8
    start = rng.uniform(0, room, (count, 2, 1, 2))
    angle = rng.uniform(0, 2 * np.pi, (count, 2, 1))
    speed = rng.uniform(0.7, 1.4, (count, 2, 1))
    step = speed[..., None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    place = (start + step * np.arange(frames)[:, None]) % (2 * room)  # without walls, unfolded
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
import time
t=time.time()
for k in range(0, STEPS, 250):
    model.fit(((f[:, :-1], f[:, 1:]) for _, f in zip(range(250), batches)), verbose=0)
    test = films(digits_test, 300, np.random.default_rng(1))
    p = 1 / (1 + np.exp(-model.predict(test[:, :-1])))
    e=lambda p,q:((p-q)**2).mean()
    tr=films(digits, 300, np.random.default_rng(1)); q= 1 / (1 + np.exp(-model.predict(tr[:, :-1])))
    print(k, "lstm %.4f train %.4f copy %.4f mean %.4f"%(e(p[:,9:],test[:,10:]),e(q[:,9:],tr[:,10:]),e(test[:,9:-1],test[:,10:]), e(test.mean((0,1)),test)), time.time()-t,flush=True)
