"""Make the data files of clstm/datasets from the packages that carry the data.

Needs the PyPI packages statsmodels (0.15.0 was used) and scikit-learn (1.9.1), and Debian's
bible-kjv and bible-kjv-text (4.38). Writes the same bytes on every run, up to the version of zlib:

    python tools/make_datasets.py
"""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from statsmodels.datasets import co2

FOLDER = Path(__file__).resolve().parent.parent / "clstm" / "datasets"

# How the program `bible` abbreviates the books that we take, and their names.
BOOKS = {
    "Ge": "Genesis",
    "Psa": "Psalms",
    "Prv": "Proverbs",
    "Isa": "Isaiah",
    "Mat": "Matthew",
    "John": "John",
    "Rom": "Romans",
    "Rev": "Revelation",
}


def make_co2() -> None:
    """co2.npz: dates (2284,) datetime64[D] and values (2284,) float32, NaN in the gaps."""
    series = co2.load_pandas().data["co2"]
    np.savez_compressed(
        FOLDER / "co2.npz",
        dates=series.index.to_numpy().astype("datetime64[D]"),
        values=series.to_numpy().astype(np.float32),
    )


def make_digits() -> None:
    """digits.npz: pixels (1797, 8, 8) uint8 in 0..16, labels (1797,) uint8, as in the source."""
    digits = load_digits()
    np.savez_compressed(
        FOLDER / "digits.npz",
        pixels=digits.images.astype(np.uint8),
        labels=digits.target.astype(np.uint8),
    )


def make_verses() -> None:
    """verses.txt.gz: one verse a line, as book, tab, text, in the order of the text."""
    command = ["bible", "-f", "Gen1:1-Rev22:21"]
    output = subprocess.run(command, check=True, capture_output=True, encoding="ascii").stdout
    lines = output.splitlines()
    verses = []
    for line in lines:
        abbreviation, text = re.fullmatch(r"(\d?[A-Za-z]+)\d+:\d+ (.+)", line).groups()
        if abbreviation in BOOKS:
            verses.append(f"{BOOKS[abbreviation]}\t{text}\n")
    # No time of making in the file: the same text then gives the same bytes.
    data = gzip.compress("".join(verses).encode("ascii"), 9, mtime=0)
    (FOLDER / "verses.txt.gz").write_bytes(data)


if __name__ == "__main__":
    make_co2()
    make_digits()
    make_verses()
