"""Small real data sets that come with the package: nothing is downloaded.

    load_co2      a weekly series with real gaps    (Mauna Loa, 1958-2001)
    load_digits   images read as 8 steps of 8       (1,797 handwritten digits)
    load_verses   texts of very different lengths   (8,988 verses of the King James Bible)

Each loader reads its file anew, returns ``(x_train, y_train), (x_test, y_test)`` in Keras's manner
with a fixed split, and gives arrays that are yours to change. Sources and licences: LICENSES.md in
this folder.
"""

from .co2 import TimeSeries, load_co2
from .digits import load_digits
from .verses import BOOKS, Verses, load_verses

__all__ = ["BOOKS", "TimeSeries", "Verses", "load_co2", "load_digits", "load_verses"]
