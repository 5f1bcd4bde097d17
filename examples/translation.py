"""Names from English into German, letter by letter: a sequence-to-sequence LSTM with attention.

Debian's package iso-codes knows the names of countries, languages, scripts and currencies in many
languages. An encoder reads the English name; a decoder writes the German one, and at each letter
looks where in the English name to read (Bahdanau et al. 2015, Luong et al. 2015). It learns from
the true letters (teacher forcing), later more and more from its own (scheduled sampling).
"""

import argparse
import gettext
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt

import clstm
from clstm import Input, Model
from clstm.decoding import beam_decode, greedy_decode
from clstm.layers import LSTM, Attention, Bidirectional, Concatenate, Dense, Dropout, Embedding
from clstm.losses import SparseCategoricalCrossentropy
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay
from clstm.sequence import scheduled_sampling, shift_right

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()

FOLDER = Path("/usr/share/iso-codes/json")
EPOCHS, EVERY, BATCH, UNITS, LONGEST = (1, 8, 64, 160, 30) if args.quick else (40, 1, 64, 160, 30)
START, END = 1, 2  # 0 is padding
if not FOLDER.is_dir():
    raise SystemExit("the names are not installed: they are in the Debian package iso-codes")

# The pairs: names that both languages have, and spell differently.

pairs = {}
for standard in ("iso_3166-1", "iso_639-2", "iso_639-3", "iso_15924", "iso_4217"):
    german = gettext.translation(standard, "/usr/share/locale", ["de"])
    (entries,) = json.loads((FOLDER / f"{standard}.json").read_text()).values()
    for name in (e[key] for e in entries for key in ("name", "official_name") if key in e):
        if german.gettext(name) != name and max(len(name), len(german.gettext(name))) <= LONGEST:
            pairs.setdefault(name, (german.gettext(name), standard))
rng = np.random.default_rng(0)
names = np.array(sorted(pairs))[rng.permutation(len(pairs))][::EVERY]
texts = [list(names), [pairs[name][0] for name in names]]
countries = np.array([pairs[name][1] == "iso_3166-1" for name in names])
letters = [sorted(set("".join(part))) for part in texts]
number = [{c: k for k, c in enumerate(part, start=3)} for part in letters]
x, y = np.zeros((2, len(names), LONGEST + 1), np.int32)
for k, part in enumerate(texts):
    for row, text in zip((x, y)[k], part, strict=True):
        row[: len(text) + 1] = [number[k][c] for c in text] + [END]
tests = len(names) // 6
x, y, x_test = x[tests:], y[tests:], x[:tests]
wanted, known = texts[1][:tests], texts[1][tests:]

# The model: dot attention of the decoder's states over the encoder's.

clstm.set_seed(0)
source, target = Input((None,), name="source"), Input((None,), name="target")
embedded = Dropout(0.2)(Embedding(len(letters[0]) + 3, 48, mask_zero=True)(source))
encoded = Bidirectional(LSTM(UNITS // 2, return_sequences=True))(embedded)
_, h, c = LSTM(UNITS, return_state=True)(encoded)
written = Dropout(0.2)(Embedding(len(letters[1]) + 3, 48, mask_zero=True)(target))
decoded = LSTM(UNITS, return_sequences=True)(written, initial_state=[h, c])
seen = Attention(use_scale=True)(decoded, encoded)
joined = Dropout(0.3)(Dense(UNITS, activation="tanh")(Concatenate()([decoded, seen])))
model = Model([source, target], Dense(len(letters[1]) + 3)(joined))
steps = EPOCHS * -(-len(x) // BATCH)
adam = Adam(CosineDecay(0.004, steps), global_clipnorm=1.0)
model.compile(adam, SparseCategoricalCrossentropy(from_logits=True))

true = shift_right(y, START)
for epoch in range(EPOCHS):
    rate = 0.25 * epoch / EPOCHS
    inputs = scheduled_sampling(true, model.predict([x, true]), rate) if rate else true
    model.fit([x, inputs], y, batch_size=BATCH, epochs=1, verbose=0)


def spell(tokens):
    return ["".join(letters[1][k - 3] for k in row if k > END) for row in tokens]


def distance(a, b):
    """Levenshtein's."""
    row = place = np.arange(len(b) + 1)
    for k, letter in enumerate(a, start=1):
        new = np.minimum(row[:-1] + [letter != other for other in b], row[1:] + 1)
        row = place + np.minimum.accumulate(np.append(k, new) - place)
    return int(row[-1])


def pairs_of_letters(texts):
    """(N, 4096): which pairs of letters are in a text, scaled to length 1; for likeness."""
    found = np.zeros((len(texts), 4096))
    for row, text in zip(found, texts, strict=True):
        row[[(64 * ord(a) + ord(b)) % 4096 for a, b in zip(text, text[1:] + " ", strict=True)]] = 1
    return found / np.sqrt(found.sum(axis=1, keepdims=True))


english = pairs_of_letters(texts[0])
nearest = (english[:tests] @ english[tests:].T).argmax(axis=1)
stream = model.stream(tests, context=x_test)
beams = beam_decode(stream, START, LONGEST + 1, end=END, beam_width=5)[0][:, 0]
guesses = {
    "the English name as it is": texts[0][:tests],
    "that of the nearest known": [known[k] for k in nearest],
    "LSTM, beam of 5": spell(beams),
    "LSTM, greedy": spell(greedy_decode(stream, START, LONGEST + 1, end=END)[0]),
}
print(f"{len(x):,} names to learn from, {tests} to test on, {countries[:tests].sum()} of countries")
print(f"  {'':<28}letters wrong    names right    countries right")
for name, found in guesses.items():
    wrong = sum(map(distance, found, wanted)) / sum(map(len, wanted))
    right = np.array([a == b for a, b in zip(found, wanted, strict=True)])
    print(f"  {name:<28}{wrong:>8.1%}{right.mean():>18.1%}{right[countries[:tests]].mean():>15.1%}")

# The picture: where the decoder looks while it writes. A second attention gives the weights too.

watch = Attention(use_scale=True, return_attention_scores=True)
looks = watch(decoded, encoded)[1]
watch.params["scale"][...] = model.get_layer("attention").params["scale"]
best = [k for k in range(tests) if beams[k, 0] >= 0 and len(texts[0][k]) > 15]
right = [k for k in best if spell(beams[[k]])[0] == wanted[k]]
figure, panels = plt.subplots(1, 2, figsize=(12, 5.4), dpi=80, layout="constrained")
for axes, k in zip(panels, (right + best)[:2], strict=True):
    tokens = beams[[k], : (beams[k] >= 0).sum()]
    weights = Model([source, target], looks).predict([x_test[[k]], shift_right(tokens, START)])[0]
    name = texts[0][k]
    axes.imshow(weights[:, : len(name) + 1], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(name) + 1), [*name, "end"])
    axes.set_yticks(range(len(weights)), [*spell(tokens)[0], "end"][: len(weights)])
    axes.tick_params(length=0)
    axes.set_title(f"{name}: {spell(tokens)[0]}", loc="left", fontsize=11)
panels[0].set(xlabel="letter that is read", ylabel="letter that is written")

args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "translation.png")
print(f"Picture: {args.out / 'translation.png'}")
