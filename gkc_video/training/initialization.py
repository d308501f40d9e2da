"""Where a training begins: weights of an earlier GKC, or the masks of a Mask2Former of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.storage.files import parse_json
from ovsbench.gkc_video import checkpoint
from ovsbench.gkc_video.model.network import GKC

Part = Literal["all", "masks"]
_MASK2FORMER = {"model.pixel_level_module.decoder.": "segmenter.pixel_decoder.", "model.transformer_module.":
                "segmenter.transformer."}  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """What a model took over.

    Attributes:
        kept: names of the tensors, as the model has them.
        left_out: those of the start that were wanted and that the model has no place for, or one of another shape.
        first: those of the parts that draw masks, of which the start has none; they keep their first values.
    """

    kept: tuple[str, ...]
    left_out: tuple[str, ...]
    first: tuple[str, ...] = ()


def start_from(path: Path, model: GKC, part: Part = "all") -> Taken:
    """Takes over what fits by name and shape; the rest of the model keeps its first values.

    Args:
        path: a checkpoint of `ovsbench train`, or a folder of `Mask2FormerForUniversalSegmentation.save_pretrained`,
            such as a panoptic one of COCO: its masks keep their weights, its classes and backbone are left.
        model: is filled.
        part: of a checkpoint of `ovsbench train`: "masks" is what draws masks, trunk and decoders; all that names
            them begins anew.

    Raises:
        MethodError: the file or folder is something else, or nothing fits.
    """
    is_mask2former = path.is_dir()
    found = _mask2former(path) if is_mask2former else _gkc(path)
    if part == "masks":
        found = {name: t for name, t in found.items() if name.startswith(("trunk.", "segmenter."))}
    own = model.state_dict()
    fitting = {name: t for name, t in found.items() if name in own and _is_alike(own[name], t)}
    if not fitting:
        raise MethodError(
            f"{path}: expected weights that fit the model, but none of {len(found)} tensors has a place of its shape "
            "and kind. Set queries, width, layers and heads in [model] to those of the weights"
        )
    broken = sorted(name for name, t in fitting.items() if not torch.isfinite(t).all())
    if broken:
        raise MethodError(f"{path}: expected finite weights, got others in {broken[0]}. Give another start")
    model.load_state_dict(fitting, strict=False)
    wanted = {name for name in own if name.startswith("segmenter." if is_mask2former else ("segmenter.", "trunk."))}
    return Taken(*(tuple(sorted(n)) for n in (fitting, found.keys() - fitting.keys(), wanted - found.keys())))


def _is_alike(own: torch.Tensor, other: torch.Tensor) -> bool:
    return own.shape == other.shape and own.is_floating_point() == other.is_floating_point()


def leave_unreached(model: GKC) -> None:
    """Lets parameters of trunk and decoders that no prediction depends on ask for no gradient, as they get none.

    A look at a grey picture tells them. Processes that train together would wait for their gradients.
    """
    training, parameters = model.training, [*model.trunk.parameters(), *model.segmenter.parameters()]
    predictions, features = model.eval().look(torch.full((1, 3, 64, 64), 128, device=model.no_object.device))
    outcomes = [out for p in predictions for out in (p.masks, p.embeddings, p.states)] + [
        features.fine,
        features.coarse,
    ]
    reached = torch.autograd.grad(sum(out.sum() for out in outcomes), parameters, allow_unused=True)  # type: ignore[arg-type]
    for parameter, gradient in zip(parameters, reached, strict=True):
        parameter.requires_grad_(gradient is not None)
    model.train(training)


def weights_file(path: Path) -> Path:
    """The file that holds the weights of what `start_from` takes."""
    return path / "model.safetensors" if path.is_dir() else path


def saw_novel(path: Path) -> str:
    """What the training of a start is known to have met of novel things, in the words of a checkpoint's header."""
    if path.is_dir():
        return "not known: it starts from a Mask2Former"
    return str(checkpoint.read(path, "gkc")[0].metadata.get("saw_novel", "not known: its start does not say"))


def _gkc(path: Path) -> dict[str, torch.Tensor]:
    _, tensors = checkpoint.read(path, "gkc")
    return {name.removeprefix("student."): t for name, t in tensors.items() if name.startswith("student.")}


def _mask2former(folder: Path) -> dict[str, torch.Tensor]:
    about, weights = folder / "config.json", weights_file(folder)
    try:
        content = parse_json(about.read_bytes())
    except (OSError, ValueError) as error:
        raise MethodError(f"{about}: expected a config of transformers, got {error}. Give another folder") from error
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != "mask2former":
        raise MethodError(f"{folder}: expected a Mask2Former, got a model of type {kind!r}. Give another folder")
    if not weights.is_file():
        others = sorted(path.name for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern))
        raise MethodError(
            f"{weights}: expected the weights in this one file, found {', '.join(others[:3]) or 'none'} in the folder. "
            'Save the model again with save_pretrained(FOLDER, max_shard_size="100GB")'
        )
    try:
        with safe_open(weights, framework="pt") as file:
            found = _renamed({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MethodError(
            f"{weights}: expected safetensors weights, got {error}. Save the model with save_pretrained"
        ) from error
    if not found:
        raise MethodError(
            f"{weights}: expected tensors under {' and '.join(_MASK2FORMER)}, found none. Save the model with "
            "save_pretrained"
        )
    return found


def _renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        ours + name.removeprefix(theirs): tensor
        for name, tensor in tensors.items()
        for theirs, ours in _MASK2FORMER.items()
        if name.startswith(theirs)
    }
