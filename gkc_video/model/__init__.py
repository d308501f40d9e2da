"""The network: frames in; masks, embeddings and class logits out; and its post-processing into regions."""

from ovsbench.gkc_video.model.batches import computed
from ovsbench.gkc_video.model.inference import Network, RawOutputs
from ovsbench.gkc_video.model.instances import USUAL, InstanceOptions, objects_of
from ovsbench.gkc_video.model.packing import Packed, pack
from ovsbench.gkc_video.model.positions import resized_positions
from ovsbench.gkc_video.model.post_processing import PostProcessing, class_maps, post_process
from ovsbench.gkc_video.model.upload import uploaded
from ovsbench.gkc_video.torchvision_shim import prepare as prepare_torchvision

__all__ = [
    "USUAL",
    "InstanceOptions",
    "Network",
    "Packed",
    "PostProcessing",
    "RawOutputs",
    "class_maps",
    "computed",
    "objects_of",
    "pack",
    "post_process",
    "prepare_torchvision",
    "resized_positions",
    "uploaded",
]
