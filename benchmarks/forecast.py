"""Forecast a year of weekly CO2 from many weeks of the past, beside what a forecast has to beat.

    python benchmarks/forecast.py [--seeds 3] [--name NAME]

From 1987 on, every 13 weeks, the next 52 weeks are forecast by what was known then; the LSTM is
trained anew every 52 weeks. Gaps are filled linearly, by what was known too. Printed: the mean
absolute error, the root mean square, and the share within the 90% interval, of each seed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import machine
import numpy as np

import clstm
from clstm.datasets import load_co2
from clstm.forecast import Drift, Forecaster, Naive, SeasonalNaive, backtest

HORIZON, SEASON, FIRST, EVERY = 52, 52, "1987-01-01", 13
RESULTS = Path(__file__).resolve().parent / "results" / "forecast"
PLOTS = Path(__file__).resolve().parent / "plots"


def series() -> tuple[np.ndarray, np.ndarray]:
    """Dates and values; a gap has the last value before it."""
    train, test = load_co2()
    dates = np.concatenate([train.dates, test.dates])
    values = np.concatenate([train.values, test.values]).astype(np.float64)
    known = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return dates, values[known]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", help="of a file in benchmarks/results/forecast/, and of pictures")
    args = parser.parse_args()
    dates, values = series()
    first = int(np.searchsorted(dates, np.datetime64(FIRST)))
    found: dict = {"machine": machine.describe(clstm.config.get_num_threads()),
                   "date": time.strftime("%Y-%m-%d"), "clstm": clstm.__version__, "seeds": {}}
    for seed in range(1, args.seeds + 1):
        forecasters = {"LSTM": Forecaster(2 * SEASON, HORIZON, seed=seed),
                       "LSTM, recursive": Forecaster(2 * SEASON, HORIZON, strategy="recursive",
                                                     seed=seed),
                       "seasonal naive": SeasonalNaive(HORIZON, SEASON), "naive": Naive(HORIZON),
                       "drift": Drift(HORIZON)}  # fmt: skip
        began = time.perf_counter()
        result = backtest(forecasters, values, first, EVERY, refit=4)
        seconds = time.perf_counter() - began
        print(f"seed {seed}, {len(result.origins)} origins, {seconds:.0f} s\n{result}", flush=True)
        found["seeds"][seed] = {name: score._asdict() for name, score in result.scores.items()}
        found |= {"origins": len(result.origins), "horizon": HORIZON}
        if seed == 1 and args.name:
            result.plot(PLOTS / f"{args.name}-forecast.png")
            last = len(values) - HORIZON
            forecast = forecasters["LSTM"].predict(values[:last])
            forecast.plot(values[last - 200 : last], values[last:],
                          PLOTS / f"{args.name}-forecast-last-year.png")  # fmt: skip
    if args.name:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{args.name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
