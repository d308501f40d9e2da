"""Objects that a video model follows, as frames: overlapping mask logits in, segments with its own tracks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ovsbench.baselines.hf_folder import load_folder
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Image, InstanceFrame, InstanceMask, PanopticFrame, Rules, Segment, Vocabulary
from ovsbench.gkc_video.model import prepare_torchvision
from ovsbench.gkc_video.text import whole_tokens


@dataclass(frozen=True)
class Followed:
    """One object in one frame.

    Attributes:
        track: number of the object, from 0.
        category: index in the vocabulary.
        score: in [0, 1].
        mask: logits (h, w) at any size; the object is where they are above 0.
        others: what else it may be, as indices in the vocabulary with scores; frames of segments have no place for it.
    """

    track: int
    category: int
    score: float
    mask: torch.Tensor
    others: tuple[tuple[int, float], ...] = ()


def answer_of_objects(
    objects: Sequence[Followed], size: tuple[int, int], vocabulary: Vocabulary, rules: Rules
) -> PanopticFrame | InstanceFrame:
    """The frame that a task asks for."""
    return (instances_of_objects if rules.task == "instance" else frame_of_objects)(objects, size, vocabulary)


def frame_of_objects(objects: Sequence[Followed], size: tuple[int, int], vocabulary: Vocabulary) -> PanopticFrame:
    """Every pixel goes to the object with the highest logit above 0, or to nobody; stuff is one segment a class."""
    classes = list(vocabulary)
    best = torch.zeros(size)
    ids = torch.zeros(size, dtype=torch.int64)
    scores: dict[int, tuple[int, float]] = {}
    for one in objects:
        category = classes[one.category]
        key = 1 + len(classes) + one.track if category.is_thing else 1 + one.category
        logits = F.interpolate(one.mask.float().cpu()[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        won = logits > best
        best, ids[won] = torch.where(won, logits, best), key
        scores[key] = (category.id, max(min(max(one.score, 0.0), 1.0), scores.get(key, (0, 0.0))[1]))
    found = ids.numpy().astype(np.uint32)
    present = [int(key) for key in np.unique(found) if key]
    return PanopticFrame(found, {key: Segment(key, *scores[key]) for key in present})


def instances_of_objects(objects: Sequence[Followed], size: tuple[int, int], vocabulary: Vocabulary) -> InstanceFrame:
    """Every object has the pixels where its logits are above 0, also those of others, and all that it may be; stuff is
    left out.
    """
    classes, masks = list(vocabulary), []
    for one in objects:
        names = [(classes[index], score) for index, score in ((one.category, one.score), *one.others)]
        scores = {category.id: min(max(score, 0.0), 1.0) for category, score in names if category.is_thing}
        if scores:
            logits = F.interpolate(one.mask.float().cpu()[None, None], size, mode="bilinear", align_corners=False)
            masks.append(InstanceMask(one.track + 1, (logits[0, 0] > 0).numpy(), scores))
    return InstanceFrame(tuple(masks))


def stretched_pixels(
    image: Image, size: tuple[int, int], mean: float | tuple[float, ...], std: float | tuple[float, ...]
) -> torch.Tensor:
    """uint8 (H, W, 3) to float (1, 3, *size), stretched and normalised."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=size[0] < image.shape[0])
    centre, spread = (torch.tensor(v).view(-1, 1, 1) if isinstance(v, tuple) else v for v in (mean, std))
    return (pixels - centre) / spread


def clip_tokens(texts: Sequence[str], length: int, reader: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (N, length) of CLIP's tokenizer, which SAM 3 and OWLv2 share; 0 after the end.

    Raises:
        MethodError: a text has more tokens than the model, which `reader` names, reads.
    """
    prepare_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    ids = whole_tokens(SimpleTokenizer(context_length=length), texts, reader)
    places = torch.arange(length)[None]
    return ids, (places <= ids.argmax(1, keepdim=True)).long()  # the end has the largest id


def open_model(name: str, folder: Path, device: str) -> Any:
    """A model class of transformers from a folder.

    Raises:
        MethodError: this transformers does not have the class, or the folder is not of it.
    """
    prepare_torchvision()
    import transformers

    if not hasattr(transformers, name):
        raise MethodError(
            f"{name} is not in transformers {transformers.__version__}, which is installed. Install 5.0 or later"
        )
    return load_folder(getattr(transformers, name), folder, device)
