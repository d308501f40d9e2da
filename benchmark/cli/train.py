"""`ovsbench train`: from a TOML file to a checkpoint."""


def train() -> None:
    """x"""
