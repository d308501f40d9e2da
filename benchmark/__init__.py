"""The measuring part of ovsbench: types, files, metrics and the two loops that predict and score."""

if not __name__.startswith("ovsbench."):
    raise ImportError(f"expected the import name ovsbench.{__name__}, got {__name__}. Import ovsbench.{__name__}")
