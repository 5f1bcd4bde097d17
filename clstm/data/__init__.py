"""What is done with data before a model sees them, and what the training loop reads."""

from .batches import ArraySource, Batch, IterableSource, is_iterable_of_batches, take
from .categories import Categories, OneHot
from .reader import Reader
from .scalers import (
    Difference,
    Log,
    MaxAbsScaler,
    MinMaxScaler,
    PowerScaler,
    RobustScaler,
    StandardScaler,
)
from .text import Vocabulary
from .transform import Pipeline, Transform, load_transform

__all__ = [
    "ArraySource", "Batch", "Categories", "Difference", "IterableSource", "Log", "MaxAbsScaler",
    "MinMaxScaler", "OneHot", "Pipeline", "PowerScaler", "Reader", "RobustScaler",
    "StandardScaler", "Transform", "Vocabulary", "is_iterable_of_batches", "load_transform", "take",
]  # fmt: skip
