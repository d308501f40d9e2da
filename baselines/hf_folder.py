"""Opens a folder that `save_pretrained` of transformers wrote: nothing is fetched, no code is run, keys must fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.errors import MethodError


def load_folder(auto: Any, folder: Path, device: str) -> Any:
    """The model in a folder, in evaluation mode and without gradients.

    Args:
        auto: the class of transformers that opens it.
        folder: with `config.json` and `model.safetensors`, or weights that torch opens without running code.
        device: torch device.

    Raises:
        MethodError: no such folder, another kind of model, or weights with missing, surplus or misshapen keys.
    """
    if not (folder / "config.json").is_file():
        raise MethodError(f"{folder}: expected a folder with a config.json of transformers, found none. Check -c")
    try:
        model, about = auto.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first = " ".join(str(error).split())[:240]
        raise MethodError(
            f"{folder}: expected a model that {auto.__name__} opens, got an error: {first}. Give a folder of this kind"
        ) from error
    faults = {
        "missing": sorted(about["missing_keys"]),
        "surplus": sorted(about["unexpected_keys"]),
        "misshapen": sorted(str(key[0] if isinstance(key, tuple) else key) for key in about["mismatched_keys"]),
    }
    told = [f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in faults.items() if keys]
    if told:
        raise MethodError(
            f"{folder}: the weights do not fit {type(model).__name__}: {'; '.join(told)}. "
            "Give the folder as save_pretrained wrote it"
        )
    return model.to(device).eval().requires_grad_(False)
