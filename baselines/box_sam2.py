"""Boxes of an open-vocabulary detector, followed as masks by SAM 2: the detector looks again every few frames.

Between two looks SAM 2 carries the masks on. At a look the boxes start a new session; a box keeps the identity of the
mask of its class that it covers best, if their boxes overlap with an IoU of at least a half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Image, InstanceFrame, PanopticFrame, Rules, Video, Vocabulary

if TYPE_CHECKING:
    from ovsbench.baselines.box_detectors import Detector
    from ovsbench.baselines.video_objects import Followed

TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c folder of OWLv2 or Grounding DINO, sam=folder of Sam2VideoModel; extra gkc"
SAME = 0.5
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Boxes = npt.NDArray[np.float32]


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    sam: Path | None = None,
    score: float = 0.1,
    every: int = 8,
    objects: int = 20,
    top_k: int = 10,
) -> BoxSam2:
    """The method.

    Args:
        checkpoint: folder of a detector, OWLv2 or Grounding DINO.
        device: "auto", "cpu", "cuda", ...
        sam: folder of a SAM 2 video model.
        score: boxes that are less certain are left out, in [0, 1].
        every: frames from one look to the next.
        objects: most boxes of a look.
        top_k: most names of an object, on instance benchmarks.

    Raises:
        MethodError: a folder is missing or not of its model, or an option out of its range.
    """
    if checkpoint is None or sam is None:
        raise MethodError(
            "the method box-sam2 needs a detector and a follower. Give -c DETECTOR_FOLDER --option sam=SAM2_FOLDER"
        )
    if min(every, objects, top_k) < 1 or not 0 <= score <= 1:
        raise MethodError(
            f"the method box-sam2 expects every, objects and top_k of at least 1 and a score from 0 to 1, got {every}, "
            f"{objects}, {top_k} and {score}. Correct them"
        )
    from ovsbench.baselines.box_detectors import open_detector
    from ovsbench.baselines.video_objects import open_model
    from ovsbench.benchmark.machine import path_digest
    from ovsbench.benchmark.storage.files import json_digest
    from ovsbench.gkc_video.device import choose

    chosen = choose(device)
    return BoxSam2(
        open_detector(checkpoint, chosen),
        open_model("Sam2VideoModel", sam, chosen),
        score,
        every,
        objects,
        json_digest([path_digest(checkpoint), path_digest(sam)]),
        top_k,
    )


@dataclass(frozen=True)
class Found:
    """The boxes of a look.

    Attributes:
        boxes: (N, 4) left, top, right, bottom in shares of the frame.
        classes, scores, tracks: (N,), the likeliest class and its score.
        others: of each box further classes with their scores, best first.
    """

    boxes: Boxes
    classes: npt.NDArray[np.int64]
    scores: Boxes
    tracks: npt.NDArray[np.int64]
    others: tuple[tuple[tuple[int, float], ...], ...] = ()


@dataclass(frozen=True)
class BoxSam2:
    """See the module."""

    detector: Detector
    follower: Any
    score: float
    every: int
    objects: int
    checkpoint_sha256: str
    top_k: int = 10
    name: str = "box-sam2"

    @property
    def device(self) -> str:
        """That both models are on."""
        return str(next(self.follower.parameters()).device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        architecture = f"{self.detector.name} boxes, SAM 2 masks"
        return {"architecture": architecture, "association": f"SAM 2, a look every {self.every} frames"}

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """Yields one frame for each image, on instance benchmarks with masks that may overlap."""
        from ovsbench.baselines.video_objects import answer_of_objects

        session: Any = None
        found: Found | None = None
        last: list[Followed] = []
        born = 0
        for index, image in enumerate(video.images()):
            if index % self.every == 0:
                found = self._look(image, vocabulary)
                found, born = keep_tracks(found, last, born)
                session = self._session(found, video.size) if len(found.tracks) else None
            last = [] if session is None or found is None else self._follow(session, index % self.every, image, found)
            yield answer_of_objects(last, video.size, vocabulary, rules)

    def _look(self, image: Image, vocabulary: Vocabulary) -> Found:
        boxes, chance = self.detector.look(image, [category.name for category in vocabulary])
        kept = distinct(boxes, chance.max(1), self.score, self.objects)
        none = np.full(len(kept), -1, np.int64)
        best = np.argsort(-chance[kept], axis=1, kind="stable")[:, : self.top_k]
        others = tuple(
            tuple((c, float(row[c])) for c in own[1:].tolist()) for row, own in zip(chance[kept], best, strict=True)
        )
        return Found(boxes[kept], best[:, 0], chance[kept].max(1), none, others)

    def _session(self, found: Found, size: tuple[int, int]) -> Any:
        import torch
        from transformers import Sam2VideoInferenceSession

        session = Sam2VideoInferenceSession(
            video_height=size[0], video_width=size[1], inference_device=self.device,
            inference_state_device=self.device, video_storage_device=self.device, dtype=torch.float32,
        )  # fmt: skip
        side = self.follower.config.image_size
        for track, box in zip(found.tracks.tolist(), found.boxes, strict=True):
            corners = torch.from_numpy(box * side).reshape(1, 1, 2, 2)
            inputs = {"point_coords": corners, "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32)}
            session.add_point_inputs(session.obj_id_to_idx(track), 0, inputs)
        session.obj_with_new_inputs = found.tracks.tolist()
        return session

    def _follow(self, session: Any, index: int, image: Image, found: Found) -> list[Followed]:
        import torch

        from ovsbench.baselines.video_objects import Followed, stretched_pixels

        side = self.follower.config.image_size
        pixels = stretched_pixels(image, (side, side), *_IMAGENET)
        with torch.inference_mode():
            session.add_new_frame(pixels.to(self.device), index)
            masks = self.follower(inference_session=session, frame_idx=index).pred_masks  # (N, 1, h, w)
        row_of = {track: row for row, track in enumerate(found.tracks.tolist())}
        objects = []
        for track, mask in zip(map(int, session.obj_ids), masks, strict=True):
            row = row_of[track]
            others = found.others[row] if found.others else ()
            objects.append(Followed(track, int(found.classes[row]), float(found.scores[row]), mask[0], others))
        return objects


def distinct(boxes: Boxes, scores: Boxes, least: float, most: int) -> list[int]:
    """Boxes from the most certain down, without those that overlap one before them with an IoU of a half or more."""
    chosen: list[int] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        if scores[number] < least or len(chosen) == most:
            break
        if not chosen or box_iou(boxes[number], boxes[chosen]).max() < SAME:
            chosen.append(number)
    return chosen


def box_iou(box: Boxes, others: Boxes) -> Boxes:
    """IoU of one box (4,) with others (N, 4).

    >>> box_iou(np.float32([0, 0, 2, 1]), np.float32([[1, 0, 2, 1], [3, 0, 4, 1]])).tolist()
    [0.5, 0.0]
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(sides, 0).prod(1)
    areas = [np.maximum(b[..., 2:] - b[..., :2], 0).prod(-1) for b in (box, others)]
    found: Boxes = both / np.maximum(areas[0] + areas[1] - both, 1e-9)
    return found


def keep_tracks(found: Found, last: Sequence[Followed], born: int) -> tuple[Found, int]:
    """Gives each box the track of the last mask of its class that it covers best, or a new one; and the next number."""
    places = [mask_box(one.mask.cpu().numpy() > 0) for one in last]
    free = {number for number, box in enumerate(places) if box is not None}
    tracks = []
    for box, category in zip(found.boxes, found.classes.tolist(), strict=True):
        mine = sorted(n for n in free if last[n].category == category)
        overlaps = box_iou(box, np.array([places[n] for n in mine], np.float32)) if mine else np.zeros(0)
        if len(overlaps) and overlaps.max() >= SAME:
            best = mine[int(overlaps.argmax())]
            free.discard(best)
            tracks.append(last[best].track)
        else:
            tracks.append(born)
            born += 1
    return replace(found, tracks=np.array(tracks, np.int64)), born


def mask_box(mask: npt.NDArray[np.bool_]) -> Boxes | None:
    """Left, top, right, bottom in shares of the frame; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    corners = [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    return np.array(corners, np.float32)
