"""Forecasts of series by LSTMs, with intervals, and how good they would have been."""

from .backtesting import Backtest, backtest
from .baselines import Drift, Naive, SeasonalNaive
from .forecaster import Forecaster
from .series import Forecast

__all__ = ["Backtest", "Drift", "Forecast", "Forecaster", "Naive", "SeasonalNaive", "backtest"]
