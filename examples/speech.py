"""Spoken digits in noise: an LSTM writes down what is said in voices that it has never heard.

espeak-ng says three to five digits in one breath, and we add noise. The model is told the letters,
not when they are said: connectionist temporal classification (Graves et al. 2006). The baseline is
time warping to a chain of recorded words (Ney 1984). Settings were chosen on other voices.
"""

import argparse
import shutil
import subprocess
from functools import cache
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from scipy.special import softmax

matplotlib.use("agg")
import matplotlib.pyplot as plt

from clstm import LSTM, Bidirectional, Dense, Dropout, Masking, Sequential, set_seed
from clstm.decoding import ctc_beam_decode, ctc_greedy_decode
from clstm.optimizers import Adam
from clstm.schedules import CosineDecay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path(), help="folder of the picture")
parser.add_argument("--quick", action="store_true", help="a few seconds: for a first look")
args = parser.parse_args()
if shutil.which("espeak-ng") is None:
    raise SystemExit("speech.py speaks with espeak-ng, a Debian package: apt install espeak-ng")

RATE, WINDOW, HOP, BANDS = 22050, 660, 330, 32  # a step of 30 ms each 15 ms
EACH, EPOCHS, BATCH = (4, 14, 4) if args.quick else (40, 14, 32)  # utterances of each voice
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "-" + "".join(sorted(set(" ".join(WORDS))))  # class 0 is the blank
ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-x-gbclan")
NAMES = """m1 m2 m3 m4 m5 f1 f2 f3 klatt klatt2 adam Alicia linda boris Denis max steph zac Hugo
    Michael Andrea croak travis Lee"""
TEST = ["en-us+m7", "en-us+shelby", "en-gb+f5", "en-gb+sandro", "en-gb-x-gbclan+m8",
        "en-gb-x-rp+klatt4", "en-gb-scotland+pablo", "en-029+Annie"]  # fmt: skip
TRAIN = [f"{ACCENTS[k % 4]}+{name}" for k, name in enumerate(NAMES.split())][:: 1 + 2 * args.quick]
rng = np.random.default_rng(0)


def hear(voice, text, stretch=0.0):
    """Log-mel features (T, BANDS), at any pitch, speed, and stretch of frequencies, in noise."""
    pitch, speed, snr = rng.integers(20, 81), rng.integers(130, 221), rng.uniform(5, 20)
    command = f"espeak-ng --stdout -z -v {voice} -p {pitch} -s {speed}".split()
    wav = subprocess.run([*command, text], capture_output=True, check=True).stdout
    sound = np.frombuffer(wav[44:], "<i2")  # after the header
    sound = sound + rng.normal(0, sound.std() * 10 ** (-snr / 20), len(sound))
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP] * np.hanning(WINDOW)
    hertz = np.fft.rfftfreq(1024, 1 / RATE) * rng.uniform(1 - stretch, 1 + stretch)
    edges = np.linspace(np.log1p(100 / 700), np.log1p(8000 / 700), BANDS + 2)  # mel
    bands = [np.interp(np.log1p(hertz / 700), edges[k : k + 3], (0, 1, 0)) for k in range(BANDS)]
    x = np.log(np.abs(np.fft.rfft(frames, 1024)) ** 2 @ np.transpose(bands))
    return ((x - x.mean(axis=0)) / x.std()).astype(np.float32)


def padded(rows, value=(0.0,) * BANDS):
    """Rows of any lengths in one array (N, longest, ...), with the value past their ends."""
    return np.array(list(zip_longest(*rows, fillvalue=value))).swapaxes(0, 1)


count = EACH * len(TRAIN)
said = [" ".join(rng.choice(WORDS, rng.integers(3, 6))) for _ in range(count + EACH * len(TEST))]
x = padded([hear(*pair, stretch=0.15) for pair in zip(TRAIN * EACH, said[:count], strict=True)])
y = padded([[LETTERS.index(letter) for letter in text] for text in said[:count]], -1)
set_seed(0)
model = Sequential([Masking(input_shape=(None, BANDS))])
for _ in range(2):
    model.add(Bidirectional(LSTM(64, return_sequences=True)))
    model.add(Dropout(0.3))
model.add(Dense(len(LETTERS)))  # logits
schedule = CosineDecay(0.005, EPOCHS * -(-len(x) // BATCH))
model.compile(Adam(schedule, global_clipnorm=1.0), "ctc")
model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)

# The baseline: a step of a word is followed by itself or one of the next two, its end by any word.

words = [hear(voice, word) for voice in TRAIN for word in WORDS]
templates, last = padded(words), np.array([len(word) + 1 for word in words])
rows, columns = np.arange(len(last)), np.arange(2, 2 + templates.shape[1])


def warp(x):
    """The words of the cheapest chain for x (T, BANDS)."""
    cost = np.full((len(rows), len(columns) + 2), np.inf)
    texts = np.full(cost.shape, "", object)  # the words before this one
    best, text = 0.0, ""
    for step in x:
        cost[:, 1], texts[:, 1] = best, text
        back = np.stack([cost[:, 2:], cost[:, 1:-1], cost[:, :-2]]).argmin(axis=0)
        before = rows[:, None], columns - back
        cost[:, 2:] = cost[before] + ((templates - step) ** 2).sum(axis=2)
        texts[:, 2:] = texts[before]
        k = cost[rows, last].argmin()
        best, text = cost[k, last[k]], f"{texts[k, last[k]]} {WORDS[k % 10]}".strip()
    return text


def spelled(labels):
    return "".join(LETTERS[k] for k in labels if k > 0)


@cache
def errors(a, b):
    """How many words must be put in, taken out or changed (Levenshtein)."""
    if not a or not b:
        return len(a) + len(b)
    return min(errors(a[1:], b) + 1, errors(a, b[1:]) + 1, errors(a[1:], b[1:]) + (a[0] != b[0]))


# Other voices. A beam gives 20 readings: of those with the fewest unknown words, we take the first.

said = said[count:]
heard = [hear(*pair) for pair in zip(TEST * EACH, said, strict=True)]
logits, steps = model.predict(padded(heard)), list(map(len, heard))
greedy = list(map(spelled, ctc_greedy_decode(logits, logit_lengths=steps)[0]))
beams = ctc_beam_decode(logits, 20, top_paths=20, logit_lengths=steps)[0]
known = [min(map(spelled, paths), key=lambda text: len(set(text.split()) - set(WORDS)))
         for paths in beams]  # fmt: skip
warped = list(map(warp, heard))
results = {"time warping": warped, "LSTM, as it spells": greedy, "LSTM, known words": known}
words = sum(len(text.split()) for text in said)
print(f"Trained on {count} utterances of {len(TRAIN)} voices. Wrong of {words} words of others:")
for name, found in results.items():
    wrong = sum(errors(*(tuple(t.split()) for t in pair)) for pair in zip(found, said, strict=True))
    print(f"{name:<20}{wrong / words:6.1%}")

# The picture: the first utterance that only the known words put right.

shown = next((k for k, text in enumerate(said) if greedy[k] != text == known[k]), 0)
seconds = np.arange(steps[shown]) * HOP / RATE
p = softmax(logits[shown, : steps[shown]], axis=1)
figure, (top, low) = plt.subplots(2, figsize=(10, 5), dpi=80, sharex=True, layout="constrained")
top.pcolormesh(seconds, np.arange(BANDS), heard[shown].T, cmap="magma")
top.set(ylabel="mel band", title=f"“{said[shown]}”, by the voice {TEST[shown % len(TEST)]}")
low.plot(seconds, p[:, 0], "k:", seconds, p[:, 1:])
best = p.argmax(axis=1)
for t in np.flatnonzero((best > 0) & (best != np.append(0, best[:-1]))):
    low.text(seconds[t], 1.05, LETTERS[best[t]].replace(" ", "␣"), ha="center")
lines = [f"{name}: {found[shown]}" for name, found in results.items()]
low.set(xlabel="\n".join(["seconds", *lines]), ylabel="probability (dotted: blank)", ylim=(0, 1.2))
args.out.mkdir(parents=True, exist_ok=True)
figure.savefig(args.out / "speech.png")
print(f"Picture: {args.out / 'speech.png'}")
