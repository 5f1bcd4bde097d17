"""What the training loop reads."""

from .batches import ArraySource, Batch, IterableSource, is_iterable_of_batches, take
from .reader import Reader

__all__ = ["ArraySource", "Batch", "IterableSource", "Reader", "is_iterable_of_batches", "take"]
