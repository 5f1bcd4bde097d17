"""What is done with data before a model sees them, and what the training loop reads."""

from .batches import ArraySource, Batch, IterableSource, is_iterable_of_batches, take
from .reader import Reader
from .transform import Pipeline, Transform

__all__ = [
    "ArraySource", "Batch", "IterableSource", "Pipeline", "Reader", "Transform",
    "is_iterable_of_batches", "take",
]  # fmt: skip
