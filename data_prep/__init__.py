"""Raw data sets in, benchmark folders out: one reader a data set, every base and novel split as a file in `splits/`."""

if not __name__.startswith("ovsbench."):
    raise ImportError(f"expected the import name ovsbench.{__name__}, got {__name__}. Import ovsbench.{__name__}")
