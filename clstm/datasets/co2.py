"""Carbon dioxide in the air at Mauna Loa, week by week."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_name("co2.npz")
_FIRST_TEST_DAY = np.datetime64("1997-01-01")


class TimeSeries(NamedTuple):
    """A regular series; where nothing was measured, the date is there and the value is NaN."""

    dates: NDArray[np.datetime64]
    values: NDArray[np.float32]


def load_co2() -> tuple[TimeSeries, TimeSeries]:
    """Load the weekly CO2 series of Mauna Loa, Hawaii, from 29 March 1958 to 29 December 2001.

    The series rises, has a yearly season, and misses 59 weeks in 22 gaps of 1 to 18 weeks. All gaps
    lie in the training part: a test score never depends on how they are filled.

    Returns:
        ``train, test``, which unpack as ``(dates, values), (dates, values)``. Train is the 2,023
        weeks before 1997, test the 261 weeks of 1997 to 2001, so a model is asked about its future.

        dates: (T,) datetime64[D], every Saturday without exception.
        values: (T,) float32, parts per million by volume, in steps of 0.1, NaN in the gaps.

    Example:
        >>> train, test = load_co2()
        >>> int(np.isnan(train.values).sum())
        59

    Source: C. D. Keeling and T. P. Whorf, Scripps Institution of Oceanography, published in 2004 by
    CDIAC (U.S. Department of Energy); in the public domain as statsmodels, which carries it,
    states.
    """
    with np.load(_FILE, allow_pickle=False) as file:
        dates, values = file["dates"], file["values"]
    cut = int(np.searchsorted(dates, _FIRST_TEST_DAY))
    return TimeSeries(dates[:cut], values[:cut]), TimeSeries(dates[cut:], values[cut:])
