"""CLIP through open_clip: names to unit vectors, cut-outs to unit vectors, and the image tower that becomes a trunk."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.pictures.crops import GREY, cut_out
from ovsbench.benchmark.storage.files import parse_json
from ovsbench.benchmark.types import Image
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.text.tokens import whole_tokens
from ovsbench.gkc_video.torchvision_shim import prepare

CONFIGS = Path(__file__).parents[1] / "open_clip_configs"
_TOKENS = "token_embedding.weight"
_NOT_TEXT = ("visual.", "text_decoder.")
"""Begin the names of what turns no text into a vector: the image tower, and what CoCa writes captions with."""
_PREFIX = "text."
"""Begins the names of a text tower that stands apart, as in all but the first CLIPs."""
_MOST_TOKENS = 1 << 20
_UNTOLD = (LookupError, EOFError, AttributeError, TypeError, AssertionError)
"""What torch raises for files that hold no weights, and towers for sizes that cannot be, beside errors that speak."""


@dataclass(frozen=True)
class Clip:
    """A frozen CLIP in evaluation mode.

    Attributes:
        model: an open_clip model.
        tokenize: texts to token ids.
        name: open_clip's name of the architecture.
        pretrained: tag or file of the weights.
        side: height and width of the image tower's input.
        mean, std: statistics of the image tower's input, RGB in [0, 1].
    """

    model: Any
    tokenize: Any
    name: str
    pretrained: str
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def width(self) -> int:
        """Dimension of the space that texts and images share."""
        text = getattr(self.model, "text", self.model)  # SigLIP keeps its text tower apart
        projection = text.text_projection
        if projection is None:
            return int(text.ln_final.weight.shape[0])
        return int(projection.out_features if isinstance(projection, torch.nn.Linear) else projection.shape[1])

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors, float32 (N, D).

        Raises:
            MethodError: a text is longer than the text tower reads.
        """
        vectors = [
            self.model.encode_text(whole_tokens(self.tokenize, texts[i : i + 256], self.name).to(self.device))
            for i in range(0, len(texts), 256)
        ]
        return F.normalize(torch.cat(vectors).float(), dim=-1)

    @torch.no_grad()
    def encode_images(self, images: Sequence[Image], batch: int = 64) -> torch.Tensor:
        """Unit vectors, float32 (N, D), of uint8 (side, side, 3) images."""
        if not images:
            return torch.zeros(0, self.width, device=self.device)
        return self.encode_pixels(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), batch)

    @torch.no_grad()
    def encode_pixels(self, pixels: torch.Tensor, batch: int = 64) -> torch.Tensor:
        """Unit vectors, float32 (N, D), of pixels (N, 3, side, side) from 0 to 255, so many images at a time."""
        if not len(pixels):
            return torch.zeros(0, self.width, device=self.device)
        vectors = [self.model.encode_image(self.normalise(part.to(self.device))) for part in pixels.split(batch)]
        if vectors[0].ndim != 2:
            raise MethodError(
                f"{self.name} gives no one vector of an image, got {tuple(vectors[0].shape[1:])}. Choose a CLIP that "
                "pools"
            )
        return F.normalize(torch.cat(vectors).float(), dim=-1)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 (N, 3, h, w) to the float input of the image tower."""
        mean = torch.tensor(self.mean, device=pixels.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(1, 3, 1, 1)
        return (pixels.float() / 255 - mean) / std

    def mask_crop(self, image: Image, mask: np.ndarray) -> Image:
        """The region alone on grey, at the image tower's size."""
        return cut_out(image, mask, self.side, GREY)


def create(name: str, *, pretrained: str | None = None, device: str = "cpu", tag: str = "") -> tuple[Any, Any]:
    """An open_clip model and tokenizer, with random weights unless a tag or a file is given.

    Args:
        name: open_clip architecture.
        pretrained: tag or file of the weights.
        device: torch device.
        tag: whose weights a file holds: activation, and mean and spread of the input, are those of the tag. Without,
            they are those of the file's configuration, or those in which all tags of the architecture agree.

    Raises:
        MethodError: open_clip knows no such architecture or weights, or nothing says of what kind a file's are.
    """
    prepare()
    import open_clip

    open_clip.add_model_config(CONFIGS)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # open_clip warns of random weights, always meant here; its errors we tell
    try:
        about = weights_about(name, pretrained, tag)
        quick = _wants_quick_gelu(name, tag or pretrained, about)
        is_file = bool(tag) or (pretrained is not None and Path(pretrained).is_file())
        pixels = {key: about[key] for key in ("mean", "std") if is_file and key in about} or None
        model = open_clip.create_model(
            name, pretrained=pretrained, device=device, force_quick_gelu=quick, force_preprocess_cfg=pixels
        )
        tokenizer = _tokenizer(name)
    except (RuntimeError, ValueError, OSError, UnpicklingError, *_UNTOLD) as error:
        told = f"{type(error).__name__} {error}" if isinstance(error, _UNTOLD) else str(error)
        told = " ".join(told.split())  # torch lists every missing and surplus key, a line each
        told = told if len(told) <= 400 else f"{told[:400]}..."
        raise MethodError(
            f"open_clip could not make {name!r} with weights {pretrained!r}: {told.rstrip('. ')}. "
            "Give a model name it lists and the path of a weights file, or a tag it knows whose weights are in the "
            "cache; open_clip:MODEL/TAG in the place of the weights fetches them"
        ) from error
    finally:
        logger.setLevel(level)
    model.set_grad_checkpointing(False)
    return model, tokenizer


def _tokenizer(name: str) -> Any:
    """The tokenizer of an architecture; one of transformers is opened as a folder of the hub cache, if it is there."""
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    text = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
    repo = text.get("hf_tokenizer_name")
    cached = try_to_load_from_cache(repo, "tokenizer_config.json") if repo else None
    if not isinstance(cached, str):
        return open_clip.get_tokenizer(name)
    options = {"tokenizer_mode": text.get("tokenizer_mode"), **text.get("tokenizer_kwargs", {})}
    return open_clip.tokenizer.HFTokenizer(str(Path(cached).parent), text.get("context_length", 77), **options)


def least_parameters(name: str, part: Literal["vision", "text"]) -> int:
    """Fewer parameters a part of an open_clip architecture does not have; 0 where it is no transformer, or unknown."""
    prepare()
    import open_clip

    open_clip.add_model_config(CONFIGS)
    sizes = (open_clip.get_model_config(name) or {}).get(f"{part}_cfg", {})
    layers, width = sizes.get("layers"), sizes.get("width")
    # Of a layer: three projections of attention and one behind it, and of the perceptron six times as many at least.
    return 10 * layers * width**2 if isinstance(layers, int) and isinstance(width, int) else 0


def text_tensors(model: Any) -> dict[str, torch.Tensor]:
    """Those tensors of a CLIP that turn text into vectors, with temperature and bias."""
    return {name: t for name, t in model.state_dict().items() if not name.startswith(_NOT_TEXT)}


def fill_text(model: Any, tensors: dict[str, torch.Tensor]) -> bool:
    """Loads what `text_tensors` gave, packed by `pack_tokens`, into a CLIP; whether its text side is complete now."""
    missing, extra = model.load_state_dict(unpack_tokens(tensors), strict=False)
    return not extra and all(name.startswith(_NOT_TEXT) for name in missing)


def _wants_quick_gelu(name: str, pretrained: str | None, about: Mapping[str, Any]) -> bool:
    """Whether weights were trained with QuickGELU, which their architecture's name may not say.

    Raises:
        MethodError: the architecture has QuickGELU and the weights were trained without: every answer would be off.
    """
    import open_clip

    wants, has = (bool((one or {}).get("quick_gelu")) for one in (about, open_clip.get_model_config(name)))
    if about and has and not wants:
        raise MethodError(
            f"the weights {pretrained!r} were trained without QuickGELU, which {name!r} has. "
            f"Use {name.removesuffix('-quickgelu')!r}"
        )
    return wants


def lasting_name(clip: Clip) -> str:
    """The architecture under which a checkpoint that carries this CLIP's text side is opened again.

    Raises:
        MethodError: its weights have QuickGELU, which the architecture has not, and open_clip knows none that has.
    """
    import open_clip

    has = bool((open_clip.get_model_config(clip.name) or {}).get("quick_gelu"))
    uses = any(isinstance(part, open_clip.transformer.QuickGELU) for part in clip.model.modules())
    if has or not uses:
        return clip.name
    other = f"{clip.name}-quickgelu"
    if other not in open_clip.list_models():
        raise MethodError(
            f"the weights {clip.pretrained!r} have QuickGELU, which a checkpoint that names {clip.name!r} would not "
            "have. Name an architecture with QuickGELU as [clip] model"
        )
    return other


def weights_about(name: str, pretrained: str | None, tag: str = "") -> Mapping[str, Any]:
    """What is known of weights: `mean` and `std` of the input in [0, 1], `quick_gelu`; {} for random ones.

    Args:
        name: open_clip architecture.
        pretrained: a tag, or a file of weights, perhaps with `open_clip_config.json` beside it.
        tag: whose weights a file holds.

    Raises:
        MethodError: a tag that open_clip does not know of the architecture; or a file of which nothing tells these
            values, so that they would be guessed.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag:
        found = open_clip.get_pretrained_cfg(name, tag)
        if not found:
            raise MethodError(f"open_clip knows no weights {tag!r} of {name}; {did_you_mean(tag, tags)}")
        return found
    if pretrained is None or not Path(pretrained).is_file():
        return open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    described = Path(pretrained).with_name("open_clip_config.json")
    if described.is_file():
        try:
            content = parse_json(described.read_bytes())
        except ValueError as error:
            raise MethodError(f"{described}: expected a configuration of open_clip, got {error}. Correct it") from error
        tables = content if isinstance(content, dict) else {}
        pixels, shape = tables.get("preprocess_cfg"), tables.get("model_cfg")
        if not isinstance(pixels, dict) or not isinstance(shape, dict) or not {"mean", "std"} <= pixels.keys():
            raise MethodError(
                f"{described}: expected preprocess_cfg with mean and std, and model_cfg, got no such tables. Correct it"
            )
        return {**pixels, "quick_gelu": bool(shape.get("quick_gelu"))}
    unknown = open_clip.get_model_config(name) is None  # which `create` says
    if unknown or (CONFIGS / f"{name}.json").is_file():  # this project's were trained with open_clip's defaults
        return {}
    known = [open_clip.get_pretrained_cfg(name, each) for each in tags]
    facts = {(c.get("mean"), c.get("std"), bool(c.get("quick_gelu"))) for c in known}
    if len(facts) == 1:
        return known[0]
    whose = f"say whose they are with clip_tag (in a training file: [clip] tag), one of {', '.join(tags[:12])}, or "
    raise MethodError(
        f"{pretrained}: nothing says with which mean, std and activation these weights of {name} were trained; "
        f"{whose if tags else ''}put their open_clip_config.json beside them"
    )


def load_clip(weights: str | Path, *, model: str | None = None, tag: str | None = None, device: str = "cpu") -> Clip:
    """CLIP from a checkpoint of `ovsbench train`, or, with `model`, from open_clip's own tags and files.

    Args:
        weights: a checkpoint file or shipped name; with `model`, an open_clip tag (read from a hub's cache) or weights
            file, or "random", for timing.
        model: open_clip architecture, such as "RN50-quickgelu"; MODEL/TAG where a file holds the weights of a tag.
        tag: the same, apart.
        device: torch device.

    Raises:
        MethodError: see `checkpoint.read` and `create`.
    """
    if model is not None:
        name, _, of_model = model.partition("/")
        pretrained = None if str(weights) == "random" else str(weights)
        net, tokenizer = create(name, pretrained=pretrained, device=device, tag=tag or of_model)
        return freeze(net, tokenizer, name, str(weights))
    if tag:
        raise MethodError(f"clip_tag says whose weights a file of open_clip holds, got {tag!r} and no model. Name both")
    path = checkpoint.resolve(weights)
    header, tensors = checkpoint.read(path, "clip")
    checkpoint.refuse_larger(path, tensors, least_parameters(str(header.config["model"]), "text"))
    net, tokenizer = create(str(header.config["model"]), device=device)
    checkpoint.fill(net, unpack_tokens(tensors), path)
    return freeze(net.to(device), tokenizer, str(header.config["model"]), str(weights))


def freeze(model: Any, tokenizer: Any, name: str, pretrained: str) -> Clip:
    """A `Clip` around an open_clip model, which is put into evaluation mode and asks for no gradient any more."""
    model.eval().requires_grad_(False)
    side = model.visual.image_size
    mean = getattr(model.visual, "image_mean", None) or (0.48145466, 0.4578275, 0.40821073)
    std = getattr(model.visual, "image_std", None) or (0.26862954, 0.26130258, 0.27577711)
    height, width = side if isinstance(side, (tuple, list)) else (side, side)
    if height != width:
        raise MethodError(f"expected a CLIP that looks at squares, got {name}, which looks at {width}x{height} pixels")
    return Clip(model, tokenizer, name, pretrained, int(height), tuple(mean), tuple(std))


def first_token_rows(count: int, width: int) -> torch.Tensor:
    """The token embedding before training, (count, width), always the same.

    Rows of tokens that no caption used keep these values, so a checkpoint does not have to hold them.
    """
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((count, width), np.float32) * np.float32(0.02))


def pack_tokens(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State of a CLIP model with the token embedding reduced to the rows that training changed."""
    packed = dict(tensors)
    key = _token_key(packed)
    if key not in packed:  # a text tower of transformers
        return packed
    table = packed.pop(key).cpu()
    changed = (table != first_token_rows(*table.shape)).any(1).nonzero()[:, 0]
    packed["token_rows"], packed["token_ids"] = table[changed], changed
    packed["token_count"] = torch.tensor(len(table))
    return packed


def unpack_tokens(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `pack_tokens`."""
    unpacked = dict(tensors)
    if "token_rows" not in unpacked:
        return unpacked
    rows, ids, count = (unpacked.pop(f"token_{key}") for key in ("rows", "ids", "count"))
    if int(count) > _MOST_TOKENS:
        raise MethodError(f"expected a vocabulary of at most {_MOST_TOKENS} tokens, got {int(count)}. Train it anew")
    table = first_token_rows(int(count), rows.shape[1])
    table[ids] = rows
    unpacked[_token_key(unpacked)] = table
    return unpacked


def _token_key(tensors: Mapping[str, torch.Tensor]) -> str:
    """The name of the token embedding beside these tensors."""
    apart = any(name.startswith(_PREFIX) for name in tensors)
    return _PREFIX + _TOKENS if apart else _TOKENS
