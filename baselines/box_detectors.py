"""Detectors that give boxes for words: OWLv2 asks for each name apart, Grounding DINO for many in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch

from ovsbench.baselines.hf_folder import model_type, read_preprocessor
from ovsbench.baselines.video_objects import clip_tokens, open_model, stretched_pixels
from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.types import Image

Floats = npt.NDArray[np.float32]
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Detector(Protocol):
    """What finds boxes for names."""

    @property
    def name(self) -> str:
        """Of the architecture, for the record of a run."""

    def look(self, image: Image, names: Sequence[str]) -> tuple[Floats, Floats]:
        """Boxes for the names.

        Args:
            image: uint8 (H, W, 3).
            names: at least one; they may repeat.

        Returns:
            Boxes (P, 4), left, top, right, bottom in shares of the frame, in [0, 1]; and for each of them the
            probability of every name (P, N), each for itself.

        Raises:
            MethodError: a name that the detector cannot be asked for.
        """


def open_detector(folder: Path, device: str) -> Detector:
    """The detector in a folder of transformers.

    Raises:
        MethodError: no such folder, or one of another model, or weights that do not fit it.
    """
    kind = model_type(folder)
    if kind not in _KINDS:
        raise MethodError(
            f"{folder}: expected a model of {' or '.join(_KINDS)} that finds boxes, got {kind}. Give the folder of one"
        )
    return _KINDS[kind](folder, device)


@dataclass(frozen=True)
class Owl:
    """OWLv2: every name is a text of its own, and all see the same boxes."""

    model: Any
    name: ClassVar[str] = "OWLv2"

    @staticmethod
    def open(folder: Path, device: str) -> Owl:
        """From a folder of transformers."""
        return Owl(open_model("Owlv2ForObjectDetection", folder, device))

    def look(self, image: Image, names: Sequence[str]) -> tuple[Floats, Floats]:
        """See `Detector`."""
        config, device = self.model.config, self.model.device
        ids, mask = clip_tokens(names, config.text_config.max_position_embeddings, "OWLv2")
        # OWLv2 keeps the shape of things: it pads with grey to a square, and its boxes are shares of that.
        longest = max(image.shape[:2])
        padded = np.full((longest, longest, 3), 128, np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image
        side = config.vision_config.image_size
        pixels = stretched_pixels(padded, (side, side), *_CLIP).to(device)
        with torch.inference_mode():
            seen = self.model(input_ids=ids.to(device), attention_mask=mask.to(device), pixel_values=pixels)
        share = np.array([longest / image.shape[1], longest / image.shape[0]] * 2, np.float32)
        chance: Floats = seen.logits[0].float().sigmoid().cpu().numpy()
        return _corners(seen.pred_boxes[0], share), chance


@dataclass(frozen=True)
class GroundingDino:
    """Grounding DINO: names stand in one sentence, "dog . red bus .", and a box has a probability for every token.

    That of a name is the mean over its tokens, as its authors score data sets of named classes. Names that do not fit
    into one sentence are asked in several, and then a box knows the names of its own sentence alone.

    Attributes:
        tokenizer: of BERT.
        shortest, longest: sides of the input in pixels: the first, unless the other would be more than the second.
    """

    model: Any
    tokenizer: Any
    shortest: int
    longest: int
    name: ClassVar[str] = "Grounding DINO"

    @staticmethod
    def open(folder: Path, device: str) -> GroundingDino:
        """From a folder of transformers, with its tokenizer.json.

        Raises:
            MethodError: the weights do not fit, or the tokenizer is missing or not of BERT.
        """
        import tokenizers

        usual, path = read_preprocessor(folder), folder / "tokenizer.json"
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # of tokenizers, which raises nothing narrower
            raise MethodError(f"{path}: expected a tokenizer, got {error}. Bring that of the weights") from error
        if tokenizer.token_to_id("[CLS]") is None or tokenizer.token_to_id(".") is None:
            raise MethodError(f"{path}: expected a tokenizer of BERT, got another. Bring that of the weights")
        model = open_model("GroundingDinoForObjectDetection", folder, device)
        return GroundingDino(model, tokenizer, usual.side or 800, usual.longest or 1333)

    def look(self, image: Image, names: Sequence[str]) -> tuple[Floats, Floats]:
        """See `Detector`."""
        device, sides = self.model.device, image.shape[:2]
        factor = min(self.shortest / min(sides), self.longest / max(sides))
        height, width = (max(1, round(side * factor)) for side in sides)
        pixels = stretched_pixels(image, (height, width), *_IMAGENET).to(device)
        column = {name: number for number, name in enumerate(dict.fromkeys(names))}
        boxes, chances = [], []
        for ids, spans in self.sentences(list(column)):
            with torch.inference_mode():
                seen = self.model(input_ids=torch.tensor([ids], device=device), pixel_values=pixels)
            of_token = seen.logits[0].float().sigmoid().cpu().numpy()  # (P, T)
            chance = np.zeros((len(of_token), len(column)), np.float32)
            for name, (begin, end) in spans.items():
                chance[:, column[name]] = of_token[:, begin:end].mean(1)
            boxes.append(_corners(seen.pred_boxes[0]))
            chances.append(chance)
        return np.concatenate(boxes), np.concatenate(chances)[:, [column[name] for name in names]]

    def sentences(self, names: Sequence[str]) -> Iterator[tuple[list[int], dict[str, tuple[int, int]]]]:
        """The tokens of each sentence, and of each name in it the first of its tokens and the one behind its last.

        Raises:
            MethodError: a name has no token that counts, or more than a sentence holds.
        """
        begin, end, dot = (self.tokenizer.token_to_id(text) for text in ("[CLS]", "[SEP]", "."))
        between = set(self.model.model.special_tokens.tolist())  # what ends a name, wherever it stands
        most = self.model.config.max_text_len
        ids: list[int] = [begin]
        spans: dict[str, tuple[int, int]] = {}
        for name in names:
            encoded = self.tokenizer.encode(name.lower(), add_special_tokens=False).ids
            tokens = [token for token in encoded if token not in between]
            if not 1 <= len(tokens) <= most - 3:
                raise MethodError(
                    f"Grounding DINO reads names of 1 to {most - 3} tokens, got {name!r} with {len(tokens)}. Rename it"
                )
            if len(ids) + len(tokens) + 2 > most:
                yield [*ids, end], spans
                ids, spans = [begin], {}
            spans[name] = (len(ids), len(ids) + len(tokens))
            ids += [*tokens, dot]
        yield [*ids, end], spans


_KINDS: Mapping[str, Callable[[Path, str], Detector]] = {"owlv2": Owl.open, "grounding-dino": GroundingDino.open}


def _corners(boxes: torch.Tensor, share: Floats | float = 1.0) -> Floats:
    """Left, top, right, bottom in [0, 1], of centre and sides (P, 4)."""
    x, y, w, h = boxes.float().cpu().numpy().T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * share
    return np.clip(corners, 0, 1).astype(np.float32)
