"""A detectron2 model made open: panoptic, semantic or instance, its classes mapped to the vocabulary.

detectron2 is on no package index; install it from its repository after `pip install "ovsbench[detectron2]"`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.baselines.class_names import map_classes, report_new
from ovsbench.baselines.shared_options import Linking
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.machine import path_digest
from ovsbench.benchmark.storage.text_files import read_text
from ovsbench.benchmark.types import Image, InstanceFrame, PanopticFrame, Rules, Video, Vocabulary
from ovsbench.gkc_video.checkpoint import fill
from ovsbench.gkc_video.device import choose
from ovsbench.gkc_video.tracking import Association, InstanceLinker, Linker, Objects, Proposals

TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c weights, config=FILE.yaml, names=FILE.json; detectron2 from its repository; extras gkc, detectron2"
CELL = 4
"""Pixels of a mask cell along a side: association compares masks at this size."""


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    config: Path | None = None,
    names: Path | None = None,
    score: float = 0.5,
    linking: Linking = Linking(),
) -> Detectron2Method:
    """The method.

    Args:
        checkpoint: weights that torch opens without running code (.pth), with or without a `model` around them.
        device: "auto", "cpu", "cuda", ...
        config: detectron2's YAML file.
        names: a JSON file {"things": [...], "stuff": [...]} with the classes in the order of the model.
        score: instances that are less certain are left out.
        linking: of regions over time.

    Raises:
        MethodError: a file is missing or does not fit, or detectron2 is not installed.
    """
    if checkpoint is None or config is None or names is None:
        raise MethodError(
            "the method detectron2 needs weights, a config and class names. "
            "Give -c FILE.pth --option config=FILE.yaml --option names=FILE.json"
        )
    try:
        from detectron2.config import get_cfg
        from detectron2.modeling import build_model
    except ImportError as error:
        raise MethodError(
            f"the method detectron2 needs detectron2 ({error}). Install it from its repository, see INSTALL there"
        ) from error
    settings = linking.settings
    setup = get_cfg()
    setup.merge_from_file(str(config))
    setup.MODEL.DEVICE = choose(device)
    model = build_model(setup).eval()
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    fill(model, weights.get("model", weights), checkpoint)
    things, stuff = read_names(names)
    return Detectron2Method(
        lambda image: model([{"image": to_input(image, setup.INPUT.FORMAT), "height": image.shape[0],
                              "width": image.shape[1]}])[0],
        things, stuff, score, settings, linking.delay, path_digest(checkpoint), setup.MODEL.DEVICE,
    )  # fmt: skip


def to_input(image: Image, order: str) -> torch.Tensor:
    """(3, H, W) in the colour order that the model was trained with."""
    pixels = image[..., ::-1] if order == "BGR" else image
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float()


def read_names(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Things and stuff of a names file.

    Raises:
        MethodError: it is not such a file.
    """
    try:
        about = json.loads(read_text(path))
        things, stuff = (tuple(map(str, about.get(kind, ()))) for kind in ("things", "stuff"))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise MethodError(
            f'{path}: expected JSON {{"things": [...], "stuff": [...]}}, got {error}. Write it'
        ) from error
    return things, stuff


@dataclass(frozen=True)
class Region:
    """One region of a model's output: bool (H, W), the number of its class, and its score."""

    mask: npt.NDArray[np.bool_]
    name: str
    score: float


@dataclass(frozen=True)
class Detectron2Method:
    """See the module; `run` takes a frame to the model's dictionary of outputs."""

    run: Callable[[Image], Mapping[str, Any]]
    things: tuple[str, ...]
    stuff: tuple[str, ...]
    score: float
    association: Association
    delay: int = 0
    checkpoint_sha256: str = ""
    device: str = "cpu"
    name: str = "detectron2"
    class_map_notes: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run; the mapping once a vocabulary was seen."""
        return {"architecture": "detectron2", **self.class_map_notes}

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """Yields one frame for each image, on instance benchmarks masks that overlap; unmapped classes are void."""
        classes = list(dict.fromkeys([*self.things, *self.stuff]))
        found = map_classes(classes, vocabulary)
        target = {match.name: match.target for match in found.matches if match.target is not None}
        report_new(found, self.class_map_notes, self.name)
        if rules.task == "instance":
            tracks = InstanceLinker(vocabulary, self.association, 1, video.fps, video.times)
            for image in tracks.watched(video.images()):
                yield tracks.link(as_objects(self._regions(image, target), target, image.shape[:2], len(vocabulary)))
            return
        linker = Linker(vocabulary, self.association, self.delay, video.fps, video.times)
        for image in linker.watched(video.images()):
            regions = self._regions(image, target)
            yield from linker.add(as_proposals(regions, target, image.shape[:2], len(vocabulary)))
        yield from linker.rest()

    def _regions(self, image: Image, target: Mapping[str, int]) -> list[Region]:
        """Those of mapped classes."""
        with torch.inference_mode():
            regions = regions_of_output(self.run(image), self.things, self.stuff, self.score)
        return [region for region in regions if region.name in target]


def regions_of_output(
    output: Mapping[str, Any], things: Sequence[str], stuff: Sequence[str], least: float
) -> list[Region]:
    """The regions of one image, whichever of detectron2's three answers a model gives; panoptic first.

    Raises:
        MethodError: none of them, or a class number without a name.
    """
    try:
        if "panoptic_seg" in output:
            ids, infos = output["panoptic_seg"]
            numbers = ids.cpu().numpy()
            return [
                Region(
                    numbers == info["id"],
                    (things if info["isthing"] else stuff)[info["category_id"]],
                    float(info.get("score", 1.0)),
                )
                for info in infos
            ]
        if "instances" in output:
            found = output["instances"]
            rows = zip(found.pred_masks, found.pred_classes.tolist(), found.scores.tolist(), strict=True)
            return [Region(mask.cpu().numpy() > 0.5, things[c], s) for mask, c, s in rows if s >= least]
        if "sem_seg" in output:
            winner = output["sem_seg"].argmax(0).cpu().numpy()
            return [Region(winner == c, stuff[c], 1.0) for c in np.unique(winner).tolist()]
    except IndexError as error:
        raise MethodError(
            f"the model answers a class beyond the {len(things)} things and {len(stuff)} stuff names. "
            "Give the names file of this model"
        ) from error
    raise MethodError(f"expected panoptic_seg, instances or sem_seg of the model, got {sorted(output)}. Use another")


def as_objects(regions: Sequence[Region], target: Mapping[str, int], size: tuple[int, ...], classes: int) -> Objects:
    """Regions as they are, which may overlap; those without a pixel disappear."""
    kept = [region for region in regions if region.mask.any()]
    masks = np.array([region.mask for region in kept], dtype=bool).reshape(len(kept), *size)
    chance = np.zeros((len(kept), classes), np.float32)
    chance[np.arange(len(kept)), [target[region.name] for region in kept]] = 1.0
    scores = np.array([min(max(region.score, 0.0), 1.0) for region in kept], np.float32)
    return Objects(masks, masks[:, CELL // 2 :: CELL, CELL // 2 :: CELL], chance, chance, scores)


def as_proposals(
    regions: Sequence[Region], target: Mapping[str, int], size: tuple[int, ...], classes: int
) -> Proposals:
    """Regions without overlap: a pixel goes to the surest; those left without a pixel disappear."""
    region_map = np.zeros(size, np.int32)
    kept: list[Region] = []
    for region in sorted(regions, key=lambda one: -one.score):
        own = region.mask & (region_map == 0)
        if own.any():
            kept.append(region)
            region_map[own] = len(kept)
    small = region_map[CELL // 2 :: CELL, CELL // 2 :: CELL]
    chance = np.zeros((len(kept), classes), np.float32)
    for row, region in enumerate(kept):
        chance[row, target[region.name]] = 1.0
    return Proposals(
        region_map,
        small[None] == np.arange(1, len(kept) + 1)[:, None, None],
        chance,  # the class is all that is known of its appearance
        np.array([min(max(region.score, 0.0), 1.0) for region in kept], np.float32),
        chance,
    )
