"""The measuring part of ovsbench: types, files, metrics and the two loops that predict and score."""

__version__ = "0.1.0"
