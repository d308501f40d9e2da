"""Regions of single frames linked over time; no torch."""

from ovsbench.gkc_video.proposals import Objects, Proposals
from ovsbench.gkc_video.tracking.instance_linker import InstanceLinker
from ovsbench.gkc_video.tracking.linker import Linker
from ovsbench.gkc_video.tracking.tracker import ASSOCIATIONS, DEFAULT, Association, association

__all__ = ["ASSOCIATIONS", "DEFAULT", "Association", "InstanceLinker", "Linker", "Objects", "Proposals", "association"]
