"""The road that GKC spares: its masks, but each one cut out and named by the image encoder of a frozen CLIP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import MethodError
from benchmark.types import Method, PanopticFrame, Rules, Video, Vocabulary

if TYPE_CHECKING:
    from baselines.region_clip import Namer
    from gkc_video.method import GKCMethod


def build(
    *,
    checkpoint: Path | None = None,
    device: str = "auto",
    clip: str | None = None,
    clip_model: str | None = None,
    prompt: str = "{}",
    synonyms: bool = False,
    objectness: float = 0.5,
    overlap: float = 0.5,
    side: int | None = None,
    associate: str = "combined",
    vote: bool = True,
    patience: int | None = None,
    delay: int = 0,
) -> Method:
    """The two-stage method.

    Args:
        checkpoint: of GKC, which gives the masks and links them.
        device: "auto", "cpu", "cuda", ...
        clip: the CLIP that names the masks: a file or shipped name, or, with `clip_model`, an open_clip tag or weights
            file; for a shipped GKC, by default, the shipped CLIP of the same world.
        clip_model: open_clip architecture, such as "ViT-B-32-quickgelu".
        prompt: templates with {} for the name, parted by |.
        synonyms: whether a class may also be recognised by its synonyms.
        objectness: as for gkc, like the options after it.

    Raises:
        MethodError: a checkpoint is missing or is none.
    """
    if checkpoint is None:
        raise MethodError(
            "the method two-stage needs a GKC checkpoint for its masks, got none. Give one, such as -c gkc-world"
        )
    from baselines.region_clip import Namer
    from gkc_video import method
    from gkc_video.checkpoint import shipped

    partner = str(checkpoint).replace("gkc-", "clip-")
    if clip is None and (str(checkpoint) not in shipped() or partner not in shipped()):
        raise MethodError(
            f"the method two-stage needs a CLIP that names the masks of {checkpoint}, got none. "
            "Give one: --option clip=FILE, or --option clip=TAG --option clip_model=NAME for one that open_clip knows"
        )
    gkc = method.build(
        checkpoint=checkpoint,
        device=device,
        objectness=objectness,
        overlap=overlap,
        side=side,
        associate=associate,
        vote=vote,
        patience=patience,
        delay=delay,
    )
    return TwoStage(gkc, Namer.load(clip or partner, model=clip_model, device=device, prompt=prompt, synonyms=synonyms))


@dataclass(frozen=True)
class TwoStage:
    """GKC's regions and association, CLIP's names. GKC's own class scores decide only which queries are regions."""

    gkc: GKCMethod
    namer: Namer
    name: str = "two-stage"

    @property
    def checkpoint_sha256(self) -> str:
        """Of both models: other weights of either make another method."""
        return hashlib.sha256(f"{self.gkc.checkpoint_sha256} {self.namer.sha256}".encode()).hexdigest()

    @property
    def device(self) -> str:
        """That the CLIP is on."""
        return str(self.namer.clip.device)

    @property
    def notes(self) -> Mapping[str, str]:
        """Facts for the record of a run."""
        return {
            **self.gkc.notes,
            "text model": self.namer.clip.name,
            "prompt": " | ".join(self.namer.templates),
            "gkc sha256": self.gkc.checkpoint_sha256,
            "clip sha256": self.namer.sha256,
        }

    def predict(self, video: Video, vocabulary: Vocabulary, rules: Rules) -> Iterator[PanopticFrame]:
        """Yields one frame for each image; its memory does not grow with the video."""
        from gkc_video.method import Linker

        table = self.gkc.names(vocabulary)
        classifier = self.namer.learn(vocabulary)
        linker = Linker(vocabulary, self.gkc.association, self.gkc.delay)
        for image in video.images():
            proposals = self.gkc.propose(image, table)
            probabilities = classifier.probabilities(image, proposals.numbers, len(proposals.embeddings))
            yield from linker.add(proposals, probabilities)
        yield from linker.rest()
