"""A matrix of runs and its one table."""
