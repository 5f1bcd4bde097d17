"""Which book of the Bible is this verse from? An LSTM that reads it against a bag of its words.

Verses have 3 to 82 words and signs, so a batch is padded with 0, which the embedding masks: no
later layer sees it. What tells a book is mostly which words it has: a hard baseline to beat.
Settings were chosen on validation verses.
"""

import argparse
import re
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import LSTM, Bidirectional, Dense, Dropout, Embedding, GlobalAveragePooling1D, Sequential
from clstm.datasets import load_verses
from clstm.datasets.verses import BOOKS
from clstm.optimizers import Adam
from clstm.regularizers import L2
from clstm.schedules import CosineDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

EPOCHS, BATCH = 1 if args.quick else 10, 64
rng = np.random.default_rng(0)

# Words as they are written, and signs; 0 is padding, 1 a word that was seen once or never.

def words(text):
    return re.findall(r"[A-Za-z']+|[^A-Za-z' ]", text)


(texts, y), (texts_test, y_test) = load_verses()
order = rng.permutation(len(texts))
valid, train = order[:700], order[700:][:: 8 if args.quick else 1]
counts = Counter(word for k in train for word in words(texts[k]))
number = {word: k for k, word in enumerate((w for w, n in counts.items() if n > 1), start=2)}
V = len(number) + 2


def padded(rows):
    """Lists of numbers as one array (N, longest)."""
    x = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for line, row in zip(x, rows, strict=True):
        line[: len(row)] = row
    return x


def bag(x):
    """log(1 + count) of each word, scaled to length 1: (N, V), without padding."""
    counts = np.stack([np.bincount(row, minlength=V) for row in x]).astype(np.float32)
    counts[:, 0] = 0
    weighed = np.log1p(counts)
    return weighed / np.linalg.norm(weighed, axis=1, keepdims=True)


x, x_test = (padded([[number.get(word, 1) for word in words(text)] for text in part])
             for part in (texts, texts_test))  # fmt: skip


def train_on(model, inputs, epochs, rate):
    adam = Adam(CosineDecay(rate, epochs * -(-len(train) // BATCH)), global_clipnorm=1.0)
    model.compile(adam, "sparse_categorical_crossentropy")
    model.fit(inputs[train], y[train], batch_size=BATCH, epochs=epochs, verbose=0)
    return (model.predict(inputs[valid]).argmax(axis=1) == y[valid]).mean(), model


# The baseline: logistic regression on the bag of words, its penalty chosen by validation.

clstm.set_seed(0)
bags = bag(x)
logistic = [train_on(Sequential([Dense(8, activation="softmax", kernel_regularizer=L2(penalty),
                                       input_shape=(V,))]), bags, EPOCHS * 2, 0.02)
            for penalty in (1e-7, 1e-6, 1e-5)]  # fmt: skip
bag_valid, baseline = max(logistic, key=lambda found: found[0])

# The LSTM. With so few verses it must not learn them by heart: 3 of 10 words are dropped.

model = Sequential()
model.add(Embedding(V, 128, mask_zero=True, input_shape=(None,)))
model.add(Dropout(0.3, noise_shape=(None, None, 1)))
model.add(Dropout(0.5))
model.add(Bidirectional(LSTM(96, return_sequences=True)))
model.add(GlobalAveragePooling1D())
model.add(Dropout(0.5))
model.add(Dense(len(BOOKS), activation="softmax"))
lstm_valid, model = train_on(model, x, EPOCHS, 0.01)

guesses = {"bag of words, logistic": baseline.predict(bag(x_test)), "LSTM": model.predict(x_test)}
guesses["mean of the two"] = (guesses["LSTM"] + guesses["bag of words, logistic"]) / 2
shuffled = padded([rng.permutation(row[row > 0]) for row in x_test])
guesses["LSTM, words shuffled"] = model.predict(shuffled)
commonest = np.bincount(y[train]).argmax()
guesses["always " + BOOKS[commonest]] = np.eye(len(BOOKS))[np.full(len(y_test), commonest)]



def share(p):
    return (p.argmax(axis=1) == y_test).mean()


print(f"{len(train):,} verses to train on, {len(y_test):,} to test on; {V:,} words and signs")
print(f"  of the LSTM's guesses on {len(valid)} validation verses {lstm_valid:.1%} are right, "
      f"of the bag's {bag_valid:.1%}")  # fmt: skip
print(f"  {'on test verses':<24} book    testament")
for name, p in guesses.items():
    old = p[:, :4].sum(axis=1) > 0.5
    print(f"  {name:<24} {share(p):.1%}   {(old == (y_test < 4)).mean():.1%}")

# The picture: which books are taken for which, and how early in a verse the two know.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), dpi=80, layout="constrained")
table = np.zeros((len(BOOKS), len(BOOKS)))
np.add.at(table, (y_test, guesses["LSTM"].argmax(axis=1)), 1)
table /= table.sum(axis=1, keepdims=True)
left.imshow(table, cmap="Blues", vmin=0, vmax=1)
for (row, column), part in np.ndenumerate(table):
    if part >= 0.005:
        left.text(column, row, f"{100 * part:.0f}", ha="center", va="center", fontsize=9,
                  color="white" if part > 0.5 else "black")  # fmt: skip
left.set_xticks(range(len(BOOKS)), BOOKS, rotation=40, ha="right")
left.set_yticks(range(len(BOOKS)), BOOKS)
left.set_title("Of 100 verses of a book, how many are\ntaken for which?", loc="left", fontsize=11)

read = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, x_test.shape[1]])
knows = {"LSTM": lambda n: model.predict(x_test[:, :n]),
         "bag of words": lambda n: baseline.predict(bag(x_test[:, :n])),
         "LSTM, words shuffled": lambda n: model.predict(shuffled[:, :n])}  # fmt: skip
for (name, know), style in zip(knows.items(), ("C0o-", "C1s--", "C0o:"), strict=True):
    curve = [share(know(n)) for n in read]
    right.plot(read, curve, style, label=f"{name}: {curve[-1]:.1%}")
right.set(xlabel="words read of each verse", ylabel="share of test verses that are right")
right.set_xscale("log", base=2)
right.set_xticks(read[[0, 1, 3, 5, 7, 9]], read[[0, 1, 3, 5, 7, 9]])
right.set_title("How early do they know?", loc="left", fontsize=11)
right.legend(loc="lower right", frameon=False)
right.spines[["top", "right"]].set_visible(False)

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "text_classification.png")
print(f"Picture: {args.out / 'text_classification.png'}")
