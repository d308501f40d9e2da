"""SAM 3 on video: every name is a text prompt, objects keep the model's own identities; streamed, frame by frame.

Its weights are given out under a licence of their own; take a folder that transformers' `save_pretrained` wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import InstanceFrame, PanopticFrame, Rules, Video, Vocabulary

if TYPE_CHECKING:
    from ovsbench.baselines.video_objects import Followed

TASKS = ("semantic", "panoptic", "instance")
NEEDS = "-c folder of Sam3VideoModel; extra gkc"
TOKENS = 32


def build(*, checkpoint: Path | None = None, device: str = "auto", score: float = 0.0) -> Sam3Video:
    """The method.

    Args:
        checkpoint: the folder.
        device: "auto", "cpu", "cuda", ...
        score: objects that are less certain are left out, in [0, 1].

    Raises:
        MethodError: no folder, or not one of this model.
    """
    if checkpoint is None:
        raise MethodError("the method sam3-video needs a folder of Sam3VideoModel, got none. Give one with -c")
    from ovsbench.baselines.video_objects import open_model
    from ovsbench.benchmark.machine import path_digest
    from ovsbench.gkc_video.device import choose

    return Sam3Video(open_model("Sam3VideoModel", checkpoint, choose(device)), score, path_digest(checkpoint))


@dataclass(frozen=True)
class Sam3Video:
    """See the module; its cost grows with the number of names."""

    model: Any
    score: float
    checkpoint_sha256: str
    name: str = "sam3-video"

    @property
    def device(self) -> str:
        """That the model is on."""
        return str(next(self.model.parameters()).device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {"architecture": "Sam3VideoModel", "association": "the model's own", "prompt": "{}"}

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame | InstanceFrame]:
        """Yields one frame for each image, whose masks may overlap on instance benchmarks; frames seen are not kept.

        A name that several categories have is asked once, for all of them.
        """
        import torch
        from transformers import Sam3VideoInferenceSession

        from ovsbench.baselines.video_objects import answer_of_objects, clip_tokens, stretched_pixels

        session = Sam3VideoInferenceSession(
            video_height=video.size[0], video_width=video.size[1], inference_device=self.device,
            inference_state_device=self.device, video_storage_device=self.device, dtype=torch.float32,
        )  # fmt: skip
        ids, mask = clip_tokens([category.name for category in vocabulary], TOKENS, "SAM 3")
        prompts: dict[int, list[int]] = {}
        for number, category in enumerate(vocabulary):
            prompt = session.add_prompt(category.name)
            session.prompt_input_ids[prompt] = ids[number : number + 1].to(self.device)
            session.prompt_attention_masks[prompt] = mask[number : number + 1].to(self.device)
            prompts.setdefault(prompt, []).append(number)
        side = self.model.config.image_size
        for index, image in enumerate(video.images()):
            with torch.inference_mode():
                pixels = stretched_pixels(image, (side, side), 0.5, 0.5).to(self.device)
                found = self.model(inference_session=session, frame=pixels)
            objects = self._objects(found, session.obj_id_to_prompt_id, prompts)
            session.processed_frames.pop(index - 1, None)
            yield answer_of_objects(objects, video.size, vocabulary, rules)

    def _objects(
        self, found: Any, prompt_of: Mapping[int, int], prompts: Mapping[int, Sequence[int]]
    ) -> list[Followed]:
        from ovsbench.baselines.video_objects import Followed

        hidden = {*(found.removed_obj_ids or ()), *(found.suppressed_obj_ids or ())}
        scores = found.obj_id_to_score or {}
        objects = []
        for key, mask in sorted((found.obj_id_to_mask or {}).items()):
            score = float(scores.get(key, 0.0))
            if key not in hidden and score >= self.score:
                first, *others = prompts[prompt_of[key]]
                objects.append(Followed(int(key), first, score, mask[0], tuple((other, score) for other in others)))
        return objects
