"""Regions of single frames linked over time."""
