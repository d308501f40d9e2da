"""Weights of a hub as files here: listed, chosen, fetched into the cache of huggingface_hub, checked.

Only safetensors are taken: a pickle can run code when it is opened. Where there is no connection the cache alone is
read, by the same steps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ovsbench.benchmark.errors import MethodError, did_you_mean
from ovsbench.benchmark.storage.files import parse_json
from ovsbench.hub.connection import connection
from ovsbench.hub.references import Reference

SAFE_REVISIONS: Mapping[str, str] = {
    "facebook/mask2former-swin-large-coco-panoptic": "a4edee47b1b2662241ceed627430aa22d0647bd0",
    "shi-labs/oneformer_coco_swin_large": "3a79bee4670e109b164c020beb56678a8ba26e2f",
}
"""Repositories whose main branch was seen with pickles alone, and their commit with the same weights as safetensors."""
WHOLE, SHARDS = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_BESIDE = re.compile(r"(?!.*\.index\.json$)[\w.-]+\.(json|txt|model)")
_TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
_SHARD = re.compile(r"[\w.-]+\.safetensors")
_MOST_HEADER = 100_000_000
_MOST_BESIDE = 100_000_000
"""Bytes of a file that is read whole, such as an index or a tokenizer."""
_SECONDS = 10.0
_BUSY = (408, 429)  # codes of a hub that would answer at another time


@dataclass(frozen=True)
class Fetched:
    """Weights that are here.

    Attributes:
        path: the file, or the folder of a model of transformers.
        revision: the commit that they are of.
        sha256: of each file of weights, by its name.
    """

    path: Path
    revision: str
    sha256: Mapping[str, str]


class _UnreachableError(Exception):
    """The hub does not answer; says why."""


def fetch(reference: Reference) -> Fetched:
    """Brings the files of a reference into the cache; what is there already stays.

    Raises:
        MethodError: the repository, revision or file is not there, is gated, pickled, cut off or damaged, or there is
            neither a connection nor a copy in the cache.
    """
    with connection() as closed:
        revision, names, reason = _listed(reference, closed, _has_model)
        files = [_get(reference, revision, name, reason) for name in wanted(reference, names)]
        if files[-1].name == SHARDS:
            files += [_get(reference, revision, name, reason) for name in _shards(reference, files[-1], names)]
    digests = {path.name: _checked(reference, path) for path in files if path.suffix == ".safetensors"}
    return Fetched(files[0] if reference.files else files[0].parent, _commit(files[0]), digests)


def fetch_tokenizer(repo: str) -> None:
    """Brings what transformers needs of a tokenizer into the cache; raises as `fetch` does."""
    reference = Reference(f"hf:{repo}", repo)
    with connection() as closed:
        _, names, reason = _listed(reference, closed, lambda _, names: bool(_TOKENIZER & set(names)))
        for name in filter(_BESIDE.fullmatch, names):
            _get(reference, None, name, reason)


def is_cached(reference: Reference) -> bool:
    """Whether the cache has a reference whole, by the names of its files."""
    from huggingface_hub import try_to_load_from_cache

    revision, names = _first(reference, lambda revision: _cached(reference.repo, revision))
    if reference.files or WHOLE in names or SHARDS not in names:
        return _has_model(reference, names)
    index = try_to_load_from_cache(reference.repo, SHARDS, revision=revision)
    try:
        return isinstance(index, str) and bool(_shards(reference, Path(index), names)) and _has_model(reference, names)
    except MethodError:
        return False


def wanted(reference: Reference, names: Collection[str]) -> list[str]:
    """Which files of a repository to take: one, or a whole model with its weights last and its config first.

    Raises:
        MethodError: there are none, or pickles alone.
    """
    if reference.files:
        found = [name for name in reference.files if name in names]
        if any(name.endswith(PICKLES) for name in found) or (not found and "open_clip:" in reference.text):
            _refuse_pickles(reference, names)
        if not found:
            raise MethodError(f"{reference.text}: no such file; {did_you_mean(reference.files[0], names)}")
        return found[:1]
    if "config.json" not in names:
        safe = [name for name in names if name.endswith(".safetensors")]
        raise MethodError(
            f"{reference.text}: expected a model of transformers with a config.json, found none. Give the file that "
            f"is meant, as {reference.text}:{safe[0] if safe else 'FILE'}"
        )
    weights = [name for name in (WHOLE, SHARDS) if name in names]
    if not weights:
        _refuse_pickles(reference, names)
    beside = sorted(name for name in names if _BESIDE.fullmatch(name) and name != "config.json")
    return ["config.json", *beside, weights[0]]


def _refuse_pickles(reference: Reference, names: Collection[str]) -> NoReturn:
    pickles = [name for name in reference.files or sorted(names) if name.endswith(PICKLES)] or sorted(
        name for name in names if name.endswith(PICKLES)
    )
    if not pickles:
        raise MethodError(f"{reference.text}: expected weights as safetensors, found none. Choose another repository")
    raise MethodError(
        f"{reference.text}: expected weights as safetensors, got a pickle ({', '.join(pickles[:3])}), which can run "
        "code when it is opened and is not fetched. Name a revision that has safetensors, as hf:ORG/NAME@REVISION, "
        "or give a folder into which save_pretrained of transformers wrote the model"
    )


def _has_weights(reference: Reference, names: Collection[str]) -> bool:
    return any(name in names for name in reference.files or (WHOLE, SHARDS))


def _has_model(reference: Reference, names: Collection[str]) -> bool:
    return _has_weights(reference, names) and (bool(reference.files) or "config.json" in names)


def _listed(
    reference: Reference, reason: str, is_enough: Callable[[Reference, Collection[str]], bool]
) -> tuple[str | None, Collection[str], str]:
    """Revision, names of its files, and the reason why they are those of the cache; "" where they are the hub's.

    Raises:
        MethodError: see `_online`; or the cache has not enough of it.
    """
    if not reason:
        try:
            return *_first(reference, lambda revision: _online(reference, revision)), ""
        except _UnreachableError as error:
            reason = str(error)
    revision, names = _first(reference, lambda revision: _cached(reference.repo, revision))
    if not is_enough(reference, names):
        raise MethodError(_absent(reference, reason, names))
    return revision, names, reason


def _first(
    reference: Reference, names_of: Callable[[str | None], Collection[str]]
) -> tuple[str | None, Collection[str]]:
    """The revision that was named; else main, or if it has no safetensors the commit that is known to have them."""
    named = names_of(reference.revision)
    safe = SAFE_REVISIONS.get(reference.repo)
    if safe is None or reference.revision is not None or _has_weights(reference, named):
        return reference.revision, named
    return safe, names_of(safe)


def _online(reference: Reference, revision: str | None) -> Collection[str]:
    """Names of the files of a revision, as the hub lists them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        about = HfApi().model_info(reference.repo, revision=revision, timeout=_SECONDS)
    except HFValidationError as error:
        raise MethodError(f"{reference.text}: {' '.join(str(error).split())}") from error
    except HfHubHTTPError as error:
        if error.response.status_code >= 500 or error.response.status_code in _BUSY:
            raise _UnreachableError(f"{_endpoint()} answers with {error.response.status_code}") from error
        raise MethodError(_refusal(reference, error)) from error
    except Exception as error:  # of the HTTP client that huggingface_hub has: unknown host, refused, timeout, proxy
        raise _UnreachableError(f"{_endpoint()} cannot be reached: {_short(error)}") from error
    return [str(sibling.rfilename) for sibling in about.siblings or ()]


def _cached(repo: str, revision: str | None) -> Collection[str]:
    """Names of the files of a revision that the cache holds."""
    folder = _repo_folder(repo)
    ref = folder / "refs" / (revision or "main")
    commit = ref.read_text(encoding="utf-8", errors="replace").strip() if ref.is_file() else revision or "main"
    if not re.fullmatch(r"[\w./-]+", commit):  # a damaged file
        return []
    snapshot = folder / "snapshots" / commit
    return [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]


def _repo_folder(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def _get(reference: Reference, revision: str | None, name: str, reason: str) -> Path:
    """A file as it lies in the cache, fetched if there is no `reason` against it."""
    from huggingface_hub import get_session, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    hooks = get_session().event_hooks["response"]
    if _refuse_paths not in hooks:
        hooks.append(_refuse_paths)
    try:
        path = Path(hf_hub_download(reference.repo, name, revision=revision, local_files_only=bool(reason)))
    except HfHubHTTPError as error:
        raise MethodError(_refusal(reference, error)) from error
    except EntryNotFoundError as error:
        if reason:
            raise MethodError(_absent(reference, reason, (), name)) from error
        raise MethodError(
            f"{reference.text}: {_endpoint()} does not give {name}: {_short(error.__cause__ or error)}. "
            "Run the same command again later"
        ) from error
    except Exception as error:  # a full disk, a connection that breaks, a file of another length than announced
        raise MethodError(
            f"{reference.text}: {name} did not arrive whole: {_short(error)}. Nothing of it is used; run the same "
            "command again"
        ) from error
    if path.suffix != ".safetensors" and path.stat().st_size > _MOST_BESIDE:
        raise MethodError(
            f"{reference.text}: expected {name} of at most {_MOST_BESIDE // 10**6} MB, got {path.stat().st_size} "
            "bytes. Choose another repository"
        )
    return path


def _refuse_paths(response: Any) -> None:
    """Refuses an answer whose headers, by which the cache names files, would lead out of the folder of a repository.

    Raises:
        ValueError: so it is.
    """
    for header in ("etag", "x-linked-etag", "x-repo-commit"):
        value = response.headers.get(header, "").removeprefix("W/").strip('"')
        if response.request.method == "HEAD" and ({"/", "\\"} & set(value) or value in (".", "..")):
            raise ValueError(f"the hub calls it {value!r}, which is no name of a file")


def _shards(reference: Reference, index: Path, names: Collection[str]) -> list[str]:
    """The files among which an index divides the weights."""
    try:
        shards = sorted(set(parse_json(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MethodError(
            f"{index}: expected an index of safetensors, got {_short(error)}. Remove it and fetch again"
        ) from error
    if not shards or not all(isinstance(name, str) and _SHARD.fullmatch(name) for name in shards):
        raise MethodError(f"{index}: expected names of safetensors files in its weight_map. Choose another repository")
    if missing := [name for name in shards if name not in names]:
        raise MethodError(
            f"{reference.text}: its index names {len(shards)} files of weights, {', '.join(missing[:3])} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Fetch it again where there is a connection, or bring "
            f"{'it' if len(missing) == 1 else 'them'} into {index.parent}"
        )
    return shards


def _checked(reference: Reference, path: Path) -> str:
    """The sha256 of a file of weights that is whole.

    Raises:
        MethodError: it is cut off or damaged.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    blob = path.resolve()
    is_other = re.fullmatch(r"[0-9a-f]{64}", blob.name) is not None and blob.name != digest
    if is_other or not _is_whole(path):
        raise MethodError(
            f"{reference.text}: {path.name} is cut off or damaged: {blob.stat().st_size} bytes, sha256 {digest[:12]}. "
            f"Remove {blob} and fetch it again"
        )
    return digest


def _is_whole(path: Path) -> bool:
    """Whether the header of a safetensors file speaks of exactly the bytes that are there."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MOST_HEADER, path.stat().st_size - 8):
            return False
        try:
            header = parse_json(file.read(length))
            ends = [int(about["data_offsets"][1]) for key, about in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return 8 + length + max(ends, default=0) == path.stat().st_size


def _commit(path: Path) -> str:
    """The commit under whose folder a file of the cache lies."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1]


def _refusal(reference: Reference, error: Exception) -> str:
    """What the hub says against it, and what to do."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{_endpoint()}/{reference.repo}"
    if isinstance(error, GatedRepoError):
        then = (
            "with the account of your token; the owners have not granted it yet"
            if get_token()
            else "and give the token of that account, HF_TOKEN=... or hf auth login"
        )
        return f"{reference.text} is given out under a licence to be accepted. Accept it at {page} {then}"
    if isinstance(error, RevisionNotFoundError):
        return f"{reference.text}: the repository has no revision {reference.revision or 'main'!r}. See {page}/commits"
    if isinstance(error, EntryNotFoundError):
        return f"{reference.text}: the hub lists a file that it does not have. Run the same command again"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{reference.text}: {_endpoint()} has no repository {reference.repo!r}, or it is private. "
            "Check the name; for a private one give HF_TOKEN"
        )
    return f"{reference.text}: {_endpoint()} refuses: {_short(error)}. Check HF_TOKEN and HF_ENDPOINT"


def _absent(reference: Reference, reason: str, names: Collection[str], name: str = "") -> str:
    """What is missing where there is no connection: which files to bring, and where."""
    files = name or (reference.files[0] if reference.files else f"config.json, preprocessor_config.json and {WHOLE}")
    has = "in part" if names or name else "not"
    return (
        f"{reference.text} is {has} in the cache, and {reason}. Fetch it on a machine with a connection (ovsbench "
        f"fetch {reference.text}) and copy {_repo_folder(reference.repo)} here; or bring {files} of "
        f"{_endpoint()}/{reference.repo} in a folder and give its path instead"
    )


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _short(error: BaseException) -> str:
    text = re.sub(r"\?[^\s'\"]+", "", " ".join(str(error).split())).rstrip(".") or type(error).__name__  # signed URLs
    return text if len(text) <= 200 else f"{text[:200]}..."
