"""ovsbench: a benchmark suite for video open-vocabulary segmentation.

Everything is imported below this one name. In a checkout the five rooms lie at the top of the repository and are
linked here; an installed package holds them as real folders.
"""

__version__ = "0.1.0"
