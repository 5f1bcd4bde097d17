"""Texts as integers: the characters or words of a training part, and their numbers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from .._arrays import boolean, positive
from .._serialize import register
from .transform import Transform

Array = np.ndarray
LEVELS = ("characters", "words")
PADDING, UNKNOWN = 0, 1  # numbers that stand for no character or word of the training part
_WORDS = re.compile(r"\w+|[^\w\s]")  # words, and each sign by itself


@register("transform")
class Vocabulary(Transform):
    """Texts to lists of integers and back.

    0 is padding, 1 what was not in the training part; then its characters or words, the most
    frequent first, and sorted where they are as frequent.

    Args:
        level: "characters" or "words" (and signs, each by itself). Default "characters".
        size: characters or words to keep, the most frequent; None: all.
        lower: texts are made lower case before. Default False.
    """

    state_names = ("words",)
    words: list[str]

    def __init__(self, level: str = "characters", size: int | None = None, lower: bool = False):
        if level not in LEVELS:
            raise ValueError(f"level: expected one of {LEVELS}, got {level!r}")
        self.level = level
        self.size = None if size is None else positive("size", size)
        self.lower = boolean("lower", lower)
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        """The rows that an Embedding needs."""
        return len(self._numbers) + 2

    def fit(self, x: Any) -> Vocabulary:
        """Learn from x, a text or a list of texts; ValueError, with nothing learned, if empty."""
        counts = Counter(word for text in _texts(x) for word in self._split(text))
        if not counts:
            raise ValueError(f"x: expected at least one of {self.level}, got none")
        words = sorted(counts, key=lambda word: (-counts[word], word))[: self.size]
        self.set_state({"words": words, "features": 1, "columns": None})
        return self

    def transform(self, x: Any) -> Any:
        """(T,) integers of a text, or a list of them for a list of texts."""
        self._require_fit()
        found = [
            np.array([self._numbers.get(word, UNKNOWN) for word in self._split(text)], np.int64)
            for text in _texts(x)
        ]
        return found[0] if isinstance(x, str) else found

    def inverse_transform(self, x: Any) -> Any:
        """The text of (T,) integers, or a list of them for a list or (N, T).

        Padding is left out, and what is unknown is "\\ufffd". Between words, and before signs that
        stood close to one, is a space.
        """
        self._require_fit()
        if isinstance(x, np.ndarray) and x.ndim == 1:
            return self._text(x)
        return [self._text(np.asarray(one)) for one in x]

    @property
    def has_inverse(self) -> bool:
        return True

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if state:
            self._numbers = {word: n for n, word in enumerate(self.words, 2)}

    def _split(self, text: str) -> Any:
        text = text.lower() if self.lower else text
        return text if self.level == "characters" else _WORDS.findall(text)

    def _text(self, numbers: Array) -> str:
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise ValueError(f"x: expected (T,) integers, got {numbers.dtype} of shape "
                             f"{numbers.shape}")  # fmt: skip
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            wrong = numbers[(numbers < 0) | (numbers >= len(self))][0]
            raise ValueError(f"x: expected 0 .. {len(self) - 1}, got {wrong}")
        known = ["", "\ufffd", *self.words]
        between = "" if self.level == "characters" else " "
        return between.join(known[n] for n in numbers.tolist() if n != PADDING)


def _texts(x: Any) -> list[str]:
    texts = [x] if isinstance(x, str) else list(x) if hasattr(x, "__iter__") else None
    if texts is None:
        raise TypeError(f"x: expected a text or a list of texts, got {type(x).__name__}")
    for k, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"x[{k}]: expected a text, got {type(text).__name__}")
    return texts
