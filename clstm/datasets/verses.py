"""Verses of the King James Bible, each with the book that it comes from."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_name("verses.txt.gz")

#: The names of the books, in the order of their numbers; the first four are of the Old Testament.
BOOKS = ("Genesis", "Psalms", "Proverbs", "Isaiah", "Matthew", "John", "Romans", "Revelation")


class Verses(NamedTuple):
    """Texts and, for each, the index of its book in ``BOOKS``."""

    texts: list[str]
    books: NDArray[np.int64]


def load_verses() -> tuple[Verses, Verses]:
    """Load the 8,988 verses, of 11 to 365 characters, of eight books of the King James Bible.

    They serve as text of variable length to classify (which book?) or to continue (which character
    comes next?). Every fifth verse of each book (the 5th, 10th, 15th ...) is for test, so that
    train and test have the books in equal shares. Neighbours in the text are therefore on both
    sides, and 7 test verses (refrains) are also in train word for word: scores tell about these
    books, not about English.

    Returns:
        ``train, test``, which unpack as ``(texts, books), (texts, books)``, with 7,194 and 1,794
        verses.

        texts: list of N str, plain ASCII, in the order of the books.
        books: (N,) int64, the index of each verse's book in ``BOOKS``.

    Example:
        >>> train, test = load_verses()
        >>> BOOKS[train.books[0]], train.texts[0]
        ('Genesis', 'In the beginning God created the heaven and the earth.')

    Source: the Authorized Version of 1611 (public domain) as Debian's package bible-kjv-text has
    it.
    """
    number_of = {name: number for number, name in enumerate(BOOKS)}
    with gzip.open(_FILE, "rt", encoding="ascii", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    texts = [text for _, text in rows]
    books = np.array([number_of[name] for name, _ in rows], dtype=np.int64)

    # Books are contiguous and in increasing order, so searchsorted finds the first verse of each
    # one's book.
    place_in_book = np.arange(len(books)) - np.searchsorted(books, books)
    is_test = place_in_book % 5 == 4
    return _select(texts, books, ~is_test), _select(texts, books, is_test)


def _select(texts: list[str], books: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Verses:
    return Verses([texts[i] for i in np.flatnonzero(chosen)], books[chosen])
