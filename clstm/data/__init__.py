"""What the training loop reads."""

from .batches import ArraySource, Batch, IterableSource, is_iterable_of_batches, take

__all__ = ["ArraySource", "Batch", "IterableSource", "is_iterable_of_batches", "take"]
