"""clstm: LSTM networks for CPUs."""

__version__ = "0.1.0"
