"""What is done with data before a model sees them: transforms, windows, batches."""

from . import missing
from .categories import Categories, OneHot
from .scalers import (
    Difference,
    Log,
    MaxAbsScaler,
    MinMaxScaler,
    PowerScaler,
    RobustScaler,
    StandardScaler,
)
from .streaming import Buckets, prefetch
from .text import Vocabulary
from .transform import Pipeline, Transform, load_transform
from .windowing import Windows, windows

__all__ = [
    "Buckets", "Categories", "Difference", "Log", "MaxAbsScaler", "MinMaxScaler", "OneHot",
    "Pipeline", "PowerScaler", "RobustScaler", "StandardScaler", "Transform", "Vocabulary",
    "Windows", "load_transform", "missing", "prefetch", "windows",
]  # fmt: skip
