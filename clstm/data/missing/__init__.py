"""What to do about missing values, NaN: leave out, fill, interpolate, predict, or keep them.

Each is a transform: what it learns, it learns from the training part. Labels that are missing need
none of these: `clstm.losses.IgnoreMissing` takes no loss there.
"""

from .imputer import LSTMImputer
from .interpolate import Interpolate
from .keep import Keep
from .predict import Predict
from .simple import Drop, Fill

__all__ = ["Drop", "Fill", "Interpolate", "Keep", "LSTMImputer", "Predict"]
