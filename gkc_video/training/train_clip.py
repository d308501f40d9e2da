"""Training of a small CLIP on pictures and captions (InfoNCE), the teacher of the embedded world."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.settings import MOST_NUMBER, shown
from ovsbench.benchmark.storage.image_files import BROKEN, open_image
from ovsbench.benchmark.storage.text_files import read_text
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.text import clip

Log = Callable[[str], None]


@dataclass(frozen=True)
class ClipTraining:
    """Settings of a training run.

    Attributes:
        model: open_clip architecture; `ovsbench-world` is ours.
        steps, batch: optimiser steps and pictures in each.
        learning_rate: peak of a one-cycle schedule (5 % warm-up, then a cosine to 0), AdamW.
        seed: of initial weights, order and augmentation.
    """

    model: str = "ovsbench-world"
    steps: int = 1500
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise DataError(f"[training] {name}: expected at least 1, got {getattr(self, name)}. Write more")
        if self.learning_rate <= 0 or self.weight_decay < 0 or not 0 <= self.seed <= MOST_NUMBER:
            raise DataError(
                "[training]: expected a learning_rate above 0, a weight_decay and a seed from 0, got "
                f"{self.learning_rate}, {self.weight_decay}, {shown(self.seed)}. Correct them"
            )


@dataclass(frozen=True)
class Pictures:
    """Pictures and captions in memory.

    Attributes:
        pixels: uint8 (N, 3, side, side).
        captions: several for each picture.
    """

    pixels: torch.Tensor
    captions: tuple[tuple[str, ...], ...]

    @staticmethod
    def read(folder: Path, side: int) -> Pictures:
        """Reads sheets of square pictures and `captions.jsonl`.

        Raises:
            DataError: a file is missing, or a sheet does not consist of pictures of `side` pixels.
        """
        listing = folder / "captions.jsonl"
        if not listing.is_file():
            raise DataError(
                f"expected picture captions in {listing}, found none. Build them with `ovsbench data build`"
            )
        lines = [json.loads(line) for line in read_text(listing).splitlines()]
        sheets: dict[int, torch.Tensor] = {}
        for page in sorted({line["sheet"] for line in lines}):
            path = folder / f"sheet-{page:03d}.jpg"
            try:
                with open_image(path, ("JPEG",)) as image:
                    sheet = np.asarray(image.convert("RGB"))
            except BROKEN as error:
                raise DataError(
                    f"{path}: expected a sheet of pictures, got {error}. Build the captions again"
                ) from error
            rows, columns = sheet.shape[0] // side, sheet.shape[1] // side
            tiles = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
            sheets[page] = torch.from_numpy(tiles.copy())
        pixels = torch.stack([sheets[line["sheet"]][line["tile"]] for line in lines])
        return Pictures(pixels, tuple(tuple(line["captions"]) for line in lines))


def train(settings: ClipTraining, folder: Path, out: Path, *, device: str = "cpu", log: Log = print) -> Path:
    """Trains from nothing on the pictures in `folder` and writes the checkpoint `out`."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    model, tokenizer = clip.create(settings.model, device=device)
    with torch.no_grad():
        table = model.token_embedding.weight
        table.copy_(clip.first_token_rows(*table.shape))
    view = clip.freeze(model, tokenizer, settings.model, "")
    model.requires_grad_(True).train()
    model.visual.to(memory_format=torch.channels_last)
    pictures = Pictures.read(folder, view.side)
    tokens = [tokenizer(list(captions)) for captions in pictures.captions]
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
    )
    started = time.perf_counter()
    running = math.log(settings.batch)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings.steps)
        chosen = rng.integers(len(tokens), size=settings.batch)
        pixels = _augment(pictures.pixels[torch.from_numpy(chosen)].to(device), rng)
        texts = torch.stack([tokens[i][rng.integers(len(tokens[i]))] for i in chosen]).to(device)
        image = F.normalize(model.encode_image(view.normalise(pixels).to(memory_format=torch.channels_last)), dim=-1)
        text = F.normalize(model.encode_text(texts), dim=-1)
        loss = contrast(image, text, model.logit_scale.exp(), texts)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        running += 0.02 * (loss.item() - running)
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            log(f"step {step + 1}/{settings.steps}  loss {running:.3f}  {time.perf_counter() - started:.0f} s")
    metadata = {
        "training": asdict(settings),
        "data": folder.name,
        "pictures": len(tokens),
        "seconds": round(time.perf_counter() - started),
        "final_loss": round(running, 4),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    header = checkpoint.Header("clip", {"model": settings.model}, metadata)
    checkpoint.write(out, header, clip.pack_tokens(model.state_dict()))
    return out


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up over 5 % of the steps, then a cosine to 0."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def contrast(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """InfoNCE in both directions, in which equal captions are all right answers.

    Args:
        image: unit vectors (B, D).
        text: unit vectors (B, D), row i describes image i.
        scale: inverse temperature.
        tokens: (B, L) token ids; equal rows are equal captions.
    """
    logits = scale * image @ text.T  # (B, B)
    same = (tokens[:, None] == tokens[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def _augment(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Random flips and quarter turns of each half of the batch, shared brightness, small shifts; uint8 in and out."""
    if rng.random() < 0.5:
        pixels = pixels.flip(3)
    pixels = torch.rot90(pixels, int(rng.integers(4)), (2, 3))
    bright = torch.from_numpy(rng.uniform(0.85, 1.15, (len(pixels), 1, 1, 1)).astype(np.float32)).to(pixels.device)
    shift = (int(rng.integers(-3, 4)), int(rng.integers(-3, 4)))
    return (pixels.float() * bright).clamp(0, 255).roll(shift, (2, 3))
