"""The leaderboard: rows from run folders, and a static site drawn from the rows."""

if not __name__.startswith("ovsbench."):
    raise ImportError(f"expected the import name ovsbench.{__name__}, got {__name__}. Import ovsbench.{__name__}")
