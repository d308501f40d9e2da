"""Opens a folder that `save_pretrained` of transformers wrote: nothing is fetched, no code is run, keys must fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovsbench.benchmark.errors import MethodError
from ovsbench.benchmark.storage.files import parse_json

_NO_WEIGHTS = re.compile(r"(relative_position_index|position_ids|num_batches_tracked)$|^criterion\.")
"""Tables that follow from the config, and parts of the loss: folders of other versions have more or fewer of them."""


def model_type(folder: Path) -> str:
    """What `config.json` says that the model is, such as "owlv2"; "" where it says nothing.

    Raises:
        MethodError: there is no such file, or it is no JSON object.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise MethodError(f"{folder}: expected a folder with a config.json of transformers, found none. Check -c")
    try:
        return str(parse_json(path.read_bytes()).get("model_type", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise MethodError(
            f"{path}: expected a config of transformers, got {error}. Give another folder with -c"
        ) from error


def load_folder(auto: Any, folder: Path, device: str) -> Any:
    """The model in a folder, in evaluation mode and without gradients.

    Args:
        auto: the class of transformers that opens it.
        folder: with `config.json` and `model.safetensors`, or weights that torch opens without running code.
        device: torch device.

    Raises:
        MethodError: no such folder, another kind of model, or weights with missing, surplus or misshapen keys.
    """
    model_type(folder)
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # of opening a file; what does not fit is told below
    logging.set_verbosity_error()
    try:
        model, about = auto.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,  # whatever the folder was saved in: images come so
        )
    except MemoryError:
        raise
    except Exception as error:  # of transformers, its validators and the formats of weights: any kind  # fmt: skip
        first = " ".join(str(error).split())[:240]
        raise MethodError(
            f"{folder}: expected a model that {auto.__name__} opens, got an error: {first}. Give a folder of this kind"
        ) from error
    faults = {
        "missing": sorted(about["missing_keys"]),
        "surplus": sorted(about["unexpected_keys"]),
        "misshapen": sorted(str(key[0] if isinstance(key, tuple) else key) for key in about["mismatched_keys"]),
    }
    faults = {what: [key for key in keys if not _NO_WEIGHTS.search(key)] for what, keys in faults.items()}
    told = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in faults.items() if keys]
    if told:
        raise MethodError(
            f"{folder}: the weights do not fit {type(model).__name__}: {'; '.join(told)}. "
            "Give the folder as save_pretrained wrote it"
        )
    return model.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class Preprocessor:
    """What `preprocessor_config.json` says of the input; all None where it says nothing.

    Attributes:
        mean, std: of RGB in [0, 1].
        side, longest: shorter side in pixels, and the most that the longer one may be.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: int | None = None
    longest: int | None = None


def read_preprocessor(folder: Path) -> Preprocessor:
    """The preprocessor of a folder; `size` is a number in older folders, {"shortest_edge": ...} in newer ones.

    Raises:
        MethodError: the file is none of transformers.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return Preprocessor()
    try:
        about = parse_json(path.read_bytes())
        size = about.get("size")
        side, longest = (
            (size.get("shortest_edge"), size.get("longest_edge")) if isinstance(size, dict) else (size, None)
        )
        mean, std = (tuple(map(float, about[key])) if about.get(key) else None for key in ("image_mean", "image_std"))
        if any(values is not None and len(values) != 3 for values in (mean, std)):
            raise ValueError(f"image_mean {mean} and image_std {std}")
        side, longest = (None if value is None else int(value) for value in (side, longest))
        return Preprocessor(mean, std, side, longest)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise MethodError(
            f"{path}: expected size, image_mean and image_std of a preprocessor, got {error}. "
            "Give the folder as save_pretrained wrote it"
        ) from error
