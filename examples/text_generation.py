"""Verses, character by character: what does an LSTM expect next, and what does it write?

A verse is a row: the model reads its characters and gives the distribution of the next one, the
last being the end of the line. It is measured in bits per character on verses that it has not seen,
against a 6-gram model (5 characters of context) and, where PyTorch is installed, against the same
network there: same weights to begin with, same batches, same number of steps.
"""

import argparse
import textwrap
import time
from collections import Counter, defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Dense, Embedding, Sequential
from clstm.datasets import load_verses
from clstm.decoding import sample_decode
from clstm.optimizers import Adam
from clstm.schedules import PolynomialDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

UNITS, EMBEDDING, BATCH, RATE, CLIP = 256, 48, 32, 0.006, 1.0
EPSILON = 1e-10  # Keras adds it elsewhere than PyTorch: so small, it makes no difference
EPOCHS, EVERY = (1, 30) if args.quick else (7, 1)
CONTEXT, END = 5, "\n"

(texts, _), (texts_test, _) = load_verses()
texts, texts_test = texts[::EVERY], texts_test[::EVERY]
letters = sorted(set("".join(texts) + "".join(texts_test)))
number = {c: k for k, c in enumerate([END, *letters], start=1)}  # 0 is padding
V = len(number) + 1


def rows(texts):
    """What is read (N, T), from END on, and what comes next (N, T), to END; both padded with 0."""
    x = np.zeros((len(texts), max(map(len, texts)) + 2), np.int32)
    for row, text in zip(x, texts, strict=True):
        row[: len(text) + 2] = [number[c] for c in END + text + END]
    y = x[:, 1:].copy()
    return np.where(y > 0, x[:, :-1], 0), y


(x, y), (x_test, y_test) = rows(texts), rows(texts_test)
steps = -(-len(x) // BATCH)
orders = [np.random.default_rng(epoch).permutation(len(x)) for epoch in range(EPOCHS)]


def batches(epoch):
    """The rows of each batch of an epoch, cut to the longest."""
    for k in range(0, len(x), BATCH):
        chosen = orders[epoch][k : k + BATCH]
        longest = (x[chosen] > 0).sum(axis=1).max()
        yield x[chosen, :longest], y[chosen, :longest]


# The baseline: p(c | context) = (count + kinds p(c | shorter context)) / (total + kinds), with
# kinds the number of different characters seen after the context (Witten & Bell 1991).

counts = defaultdict(Counter)
for text in texts:
    text = END + text + END
    for k in range(1, len(text)):
        for n in range(min(k, CONTEXT) + 1):
            counts[text[k - n : k]][text[k]] += 1
sums = {context: (sum(after.values()), len(after)) for context, after in counts.items()}


def probability(text, k):
    p = 1 / (V - 1)
    for n in range(min(k, CONTEXT) + 1):
        context = text[k - n : k]
        if context in sums:
            total, kinds = sums[context]
            p = (counts[context][text[k]] + kinds * p) / (total + kinds)
    return p


bits_ngram = -np.mean([np.log2(probability(text, k)) for text in (END + t + END for t in texts_test)
                       for k in range(1, len(text))])  # fmt: skip

clstm.set_seed(0)
model = Sequential()
model.add(Embedding(V, EMBEDDING, mask_zero=True, input_shape=(None,)))
model.add(LSTM(UNITS, return_sequences=True))
model.add(Dense(V))
adam = Adam(PolynomialDecay(RATE, steps * EPOCHS, 0.0), epsilon=EPSILON, global_clipnorm=CLIP)
model.compile(adam, clstm.losses.SparseCategoricalCrossentropy(True))
first = model.get_weights()
curves, began = {"clstm": []}, time.perf_counter()
for epoch in range(EPOCHS):
    model.fit(batches(epoch), verbose=0)
    curves["clstm"].append(model.evaluate(x_test, y_test, batch_size=128) / np.log(2))
seconds = {"clstm": time.perf_counter() - began}

try:
    from pytorch import text_generation as twin  # in the folder beside this program
    began = time.perf_counter()
    curves["PyTorch"] = twin.train(first, [batches(k) for k in range(EPOCHS)], (x_test, y_test),
                                   RATE, steps * EPOCHS, EPSILON, CLIP)  # fmt: skip
    seconds["PyTorch"] = time.perf_counter() - began
except ImportError:
    print("PyTorch is not installed: not compared")

print(f"Bits per character of {len(texts_test):,} test verses (uniform: {np.log2(V - 1):.2f})",
      f"  6-gram model            {bits_ngram:.3f}", sep="\n")  # fmt: skip
for name, curve in curves.items():
    print(f"  LSTM, {name:<16}  {curve[-1]:.3f}  after {steps * EPOCHS:,} steps in "
          f"{seconds[name]:.0f} s; {curve[-1] / bits_ngram:.1%} of the 6-gram model's")

# What it writes: each row of a stream reads the character that was drawn for it.
character = dict(map(reversed, number.items()))
samples = {}
for temperature in (0.4, 0.7, 1.0):
    tokens, _ = sample_decode(model.stream(batch_size=3), number[END], 400, end=number[END],
                              temperature=temperature, seed=1)  # fmt: skip
    samples[temperature] = ["".join(character.get(t, "") for t in row).strip() for row in tokens]
    print(f"Temperature {temperature}")
    for text in samples[temperature]:
        print(textwrap.fill(text, 96, initial_indent="  ", subsequent_indent="    "))

# The picture.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), dpi=80, layout="constrained",
                                     width_ratios=(1, 1.3))  # fmt: skip
for (name, curve), style in zip(curves.items(), ("C0o-", "C1s--"), strict=False):
    left.plot(np.arange(1, EPOCHS + 1), curve, style, label=f"LSTM, {name}: {curve[-1]:.3f}")
left.axhline(bits_ngram, color="#666666", linestyle=":", label=f"6-gram model: {bits_ngram:.3f}")
left.set(xlabel="times that all verses were read", ylabel="bits per character of test verses")
left.legend(frameon=False)
right.set_axis_off()
right.text(0, 1, "\n\n".join(
    f"Temperature {temperature}\n" + "\n".join(textwrap.fill(text[:170], 76) for text in texts)
    for temperature, texts in samples.items()), va="top", fontsize=9, family="serif")  # fmt: skip

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "text_generation.png")
print(f"Picture: {args.out / 'text_generation.png'}")
