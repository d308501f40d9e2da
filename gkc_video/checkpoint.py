"""Checkpoint files: safetensors with a JSON header, so that loading one cannot run code.

The header names the kind of model, its configuration, and what is known of its training. Half-precision on disk,
float32 in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ovsbench.benchmark.domain import DRAWN
from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.old_names import renamed
from ovsbench.benchmark.storage import files

SHIPPED = Path(__file__).parent / "checkpoints"
"""The small checkpoints of the embedded world; their names can be used instead of paths."""
_HEADER_KEY = "ovsbench"
_SCHEMA = 1


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself.

    Attributes:
        kind: "clip" or "gkc".
        config: what is needed to build the model, as plain JSON values.
        metadata: how it came to be: data, steps, losses, what was seen; for people and for the run's record.
    """

    kind: str
    config: Mapping[str, Any]
    metadata: Mapping[str, Any]


def shipped() -> dict[str, Path]:
    """Name to file of the checkpoints that come with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def resolve(name_or_path: str | Path) -> Path:
    """The file meant by a path or by the name of a shipped checkpoint.

    Raises:
        MethodError: there is neither such a file nor such a name.
    """
    known = shipped()
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise MethodError(
            f"expected a checkpoint file or the name of a shipped one, got {str(name_or_path)!r}, which "
            f"{'is a folder' if path.is_dir() else 'does not exist'}; {did_you_mean(str(name_or_path), known)}"
        )
    return path


def domain(path: Path) -> str | None:
    """What the training of a checkpoint has seen, see `benchmark.domain`; None where it does not say, or is not ours.

    Checkpoints from before that name their data only: the embedded world's is called world-... or captions...
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_HEADER_KEY, "{}"))
    except (SafetensorError, json.JSONDecodeError, OSError):
        return None  # whoever opens it says what is wrong
    metadata = renamed("checkpoint", about).get("metadata", {}) if isinstance(about, dict) else {}
    if "domain" in metadata:
        return str(metadata["domain"])
    data = str(metadata.get("data", ""))
    return DRAWN if data.startswith(("captions", "world-")) else None


def digest(path: Path) -> str:
    """sha256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, header: Header, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes a checkpoint beside its place and moves it there; floating-point tensors are stored as float16.

    Raises:
        DataError: it cannot be written, such as on a full disk.
    """
    stored = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous() for name, t in tensors.items()
    }
    about = {"schema": _SCHEMA, "kind": header.kind, "config": header.config, "metadata": header.metadata}
    data = save(stored, metadata={_HEADER_KEY: json.dumps(about, sort_keys=True)})
    files.write_bytes(path, data)


def read(path: Path, kind: str) -> tuple[Header, dict[str, torch.Tensor]]:
    """Header and float32 tensors of a checkpoint of the given kind.

    Raises:
        MethodError: not a safetensors file, not written by ovsbench, a newer schema, or another kind of model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_HEADER_KEY, "null"))
            if not isinstance(about, dict):
                raise MethodError(
                    f"{path}: expected a checkpoint written by `ovsbench train`, got a safetensors file of another "
                    "origin. Train or convert the model with ovsbench first"
                )
            if about.get("schema") != _SCHEMA or about.get("kind") != kind:
                raise MethodError(
                    f"{path}: expected a {kind!r} checkpoint of schema {_SCHEMA}, got {about.get('kind')!r} of schema "
                    f"{about.get('schema')}. Give the checkpoint of the method you named"
                )
            about, tensors = renamed("checkpoint", about), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise MethodError(
            f"{path}: expected a safetensors checkpoint, got a file that is not one ({error}). "
            "Give a file that `ovsbench train` wrote"
        ) from error
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return Header(about["kind"], about["config"], about["metadata"]), tensors


def refuse_larger(path: Path, tensors: Mapping[str, torch.Tensor], least: int) -> None:
    """Before a model is built: its header must not ask for more memory than its weights fill.

    Args:
        path: the checkpoint.
        tensors: of the model, or of one part.
        least: parameters that a model of the header's sizes has at least.

    Raises:
        MethodError: the file has fewer.
    """
    held = sum(tensor.numel() for tensor in tensors.values())
    if least > held:
        raise MethodError(
            f"{path}: its header describes a model of at least {least} parameters, the file holds {held}. "
            "Give a checkpoint that `ovsbench train` wrote"
        )


def fill(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Loads tensors into a module, strictly.

    Raises:
        MethodError: names or shapes are not those of the module.
    """
    own = module.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    ]
    if missing or extra or shapes:
        raise MethodError(
            f"{path}: the weights are of another architecture (missing {missing[:3]}, extra {extra[:3]}, "
            f"shapes {shapes[:3]}). Give a checkpoint of this model"
        )
    module.load_state_dict(dict(tensors))
