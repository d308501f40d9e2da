"""The settings of a training of GKC: the table [training] of its TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.pictures.crops import Crop
from ovsbench.benchmark.settings import MOST_NUMBER, shown
from ovsbench.gkc_video.training.diversify import Diversification
from ovsbench.gkc_video.training.train_clip import schedule as cosine

MOST = {"seed": MOST_NUMBER, "points": 1_000_000, "batch": 100_000, "readers": 1000}


@dataclass(frozen=True)
class GKCTraining:
    """Settings of a training run.

    Attributes:
        steps, batch: optimiser steps and labelled frames in each.
        accumulate: parts in which a step's frames are gone through one after the other, to save memory.
        precision: of the model's forward pass. "bfloat16" and "tf32" are for GPUs; with both, what stays float32 is
            multiplied as TF32.
        recompute: whether activations inside the layers of pixel decoder and decoder are computed a second time on the
            way back and not kept, which takes less memory and more time (gradient checkpointing).
        compile: whether trunk, pixel decoder and decoder are compiled by torch when they first run.
        ema: how much of itself an average of the weights keeps in each step, such as 0.999; the average is then what
            is evaluated and written. 0 is none.
        unlabelled: unlabelled frames in each step, 0 for none.
        captions: captioned pictures in each step, 0 for none, see `ovsbench.gkc_video.training.grounding`.
        novel_words: whether words that name novel classes are used where captions have them.
        distil_from: share of the steps after which distillation on them begins; before, no mask is worth a crop.
        diversify: kind of text diversification, see `ovsbench.gkc_video.training.diversify`.
        tgkd: form of text-guided distillation on labelled regions.
        region_dropout: chance of a labelled region to teach no name in a step; GKC's configuration has 0.5 or 0.
        region_limit: at most so many regions take part in text-guided distillation.
        region_limit_of: what that is the limit of: each frame, or, as in GKC, a step of one process (a part of it where
            it is gone through in several).
        points: so many points of each mask are compared in matching and losses, see
            `ovsbench.gkc_video.training.points`; 0 compares every cell.
        void: what is not labelled: "ignored", it takes no part in any loss, or "background", as in GKC, where masks
            learn to leave it out and queries on it learn that they are nothing.
        deep_supervision: whether losses are the "mean" over the decoder's prediction points or, as in GKC, their "sum".
        masked_attention: share of the steps after which no query of an encoder-only model is confined to its mask any
            more, see `ovsbench.gkc_video.training.masked_attention`; 0 confines none.
        teacher_crop: how a labelled region becomes the teacher's input: its box made "square" on grey, or, as in GKC,
            "stretched", bicubic.
        learning_rate: peak of the schedule, AdamW.
        schedule: "cosine" warms up over 5 % of the steps and falls to 0; "steps" begins at the
            peak and falls to a tenth after 80 % and again after 90 % of the steps, as GKC's configuration does.
        trunk_rate: factor on it for the trunk.
        frozen_norms: whether batch normalisation keeps the means and variances of the weights that the training begins
            with, as detectors do; several processes then wait for each other once a step only.
        clip_norm: largest norm of the gradient.
        hold_out: names of base classes that are void in this training, or how many of them the seed chooses, see
            `ovsbench.gkc_video.training.hold_out`.
        seed: of initial weights, order, augmentation and of the classes to hold out.
        save_every: steps between states from which a killed run goes on, and between pictures of the losses.
        readers: processes that read frames ahead of the training, for GPUs; 0 for a thread.
        tensorboard: whether the losses also go to TensorBoard, into the folder `<name>.tensorboard`.
    """

    steps: int = 4000
    batch: int = 8
    accumulate: int = 1
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    recompute: bool = False
    compile: bool = False
    ema: float = 0.0
    unlabelled: int = 0
    captions: int = 0
    novel_words: bool = True
    distil_from: float = 0.3
    diversify: Diversification = "off"
    tgkd: Literal["off", "merged", "separate"] = "off"
    region_dropout: float = 0.0
    region_limit: int = 200
    region_limit_of: Literal["frame", "step"] = "frame"
    points: int = 0
    void: Literal["ignored", "background"] = "ignored"
    deep_supervision: Literal["mean", "sum"] = "mean"
    masked_attention: float = 0.0
    teacher_crop: Crop = "square"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "steps"] = "cosine"
    trunk_rate: float = 0.3
    weight_decay: float = 0.02
    frozen_norms: bool = False
    clip_norm: float = 1.0
    hold_out: int | tuple[str, ...] = ()
    seed: int = 0
    save_every: int = 250
    readers: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        at_least_1 = ("steps", "batch", "accumulate", "save_every", "region_limit")
        for name in (*at_least_1, "readers", "points", "hold_out", "seed"):
            value, least = getattr(self, name), int(name in at_least_1)
            if isinstance(value, int) and not least <= value <= MOST.get(name, value):
                most = f" and at most {MOST[name]}" if name in MOST else ""
                raise DataError(f"[training] {name}: expected at least {least}{most}, got {shown(value)}. Correct it")
        for name in ("learning_rate", "trunk_rate", "weight_decay", "clip_norm"):
            value = getattr(self, name)
            if value < 0 or (value == 0 and name in ("learning_rate", "clip_norm")):
                raise DataError(f"[training] {name}: expected a number above 0, got {value}. Correct it")
        if self.unlabelled < 0 or not 0 <= self.region_dropout < 1 or not 0 <= self.distil_from <= 1:
            raise DataError(
                "[training]: expected unlabelled from 0, region_dropout from 0 to below 1 and distil_from from 0 to 1, "
                f"got {self.unlabelled}, {self.region_dropout}, {self.distil_from}"
            )
        if not 0 <= self.masked_attention <= 1:
            raise DataError(f"[training] masked_attention: expected 0 to 1, got {self.masked_attention}")
        if self.captions and self.captions < 2 * self.accumulate:
            raise DataError(
                f"[training] captions: expected 0, or at least 2 for each of accumulate = {self.accumulate} parts, to "
                f"tell them apart, got {self.captions}. Change one"
            )
        if not 0 <= self.ema < 1:
            raise DataError(f"[training] ema: expected a share from 0 to below 1, got {self.ema}. Correct it")
        if self.batch % self.accumulate:
            raise DataError(
                f"[training] accumulate: expected a divisor of batch = {self.batch}, got {self.accumulate}. Change one"
            )

    def rate(self, step: int) -> float:
        """Share of the peak learning rate at a step, counted from 0.

        >>> GKCTraining(steps=100, schedule="steps").rate(0), GKCTraining(steps=100, schedule="steps").rate(80)
        (1.0, 0.1)
        """
        if self.schedule == "cosine":
            return cosine(step, self.steps)
        return 1.0 if step < 0.8 * self.steps else 0.1 if step < 0.9 * self.steps else 0.01

    def check_world_size(self, size: int) -> None:
        """Refuses a number of processes that the frames of a step cannot be dealt out to.

        Raises:
            DataError: it is no divisor, or some would have fewer than two captions.
        """
        if self.batch % (self.accumulate * size):
            raise DataError(
                f"[training] batch: expected a multiple of {size} processes times accumulate = {self.accumulate}, got "
                f"{self.batch}. Change one of the three"
            )
        if self.captions and self.captions < 2 * self.accumulate * size:
            raise DataError(
                f"[training] captions: expected at least 2 for each of {size} processes times accumulate = "
                f"{self.accumulate}, got {self.captions}. Change one of the three"
            )

    @property
    def asks_regions(self) -> bool:
        """Whether the teacher is asked about labelled regions."""
        return self.tgkd != "off" or self.diversify == "thresRand"

    @property
    def needs_teacher(self) -> bool:
        """Whether a CLIP image encoder takes part."""
        return bool(self.unlabelled) or self.asks_regions
