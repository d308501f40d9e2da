"""Weights that are named and not at hand: `hf:ORG/NAME[@REVISION][:FILE]` and `open_clip:MODEL/TAG`, parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovsbench.benchmark.errors import MethodError, did_you_mean

HF, OPEN_CLIP = "hf:", "open_clip:"
_HF = re.compile(r"hf:(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[\w./ +-]+))?")
_CLIP_DEFAULT = "open_clip_pytorch_model.bin"


@dataclass(frozen=True, slots=True)
class Reference:
    """Weights in a repository of a hub.

    Attributes:
        text: as a person wrote it.
        repo: ORG/NAME.
        revision: branch, tag or commit; None for the main branch.
        files: the first of these names that the repository has is taken; none for a whole model of transformers.
    """

    text: str
    repo: str
    revision: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipReference:
    """A CLIP as open_clip names it.

    Attributes:
        text: as a person wrote it.
        model: the architecture, such as "ViT-B-16".
        tag: of its weights.
        weights: where these are.
        tokenizer: repository of the tokenizer where the architecture has one of transformers.
    """

    text: str
    model: str
    tag: str
    weights: Reference
    tokenizer: str | None = None


def is_reference(text: str | None) -> bool:
    """Whether a text names weights of a hub.

    >>> is_reference("hf:google/owlv2-base-patch16-ensemble"), is_reference("weights/gkc.safetensors")
    (True, False)
    """
    return text is not None and text.startswith((HF, OPEN_CLIP))


def parse(text: str) -> Reference | ClipReference:
    """What a text names.

    >>> parse("hf:shi-labs/oneformer_coco_swin_large@refs/pr/1:model.safetensors")
    ... # doctest: +NORMALIZE_WHITESPACE
    Reference(text='hf:shi-labs/oneformer_coco_swin_large@refs/pr/1:model.safetensors',
        repo='shi-labs/oneformer_coco_swin_large', revision='refs/pr/1', files=('model.safetensors',))

    Raises:
        MethodError: it is of neither form, or open_clip does not know the model or the tag.
    """
    if text.startswith(OPEN_CLIP):
        return _clip(text)
    match = _HF.fullmatch(text)
    if match is None or ".." in text or text.endswith(".git"):
        raise MethodError(
            f"expected weights of a hub as hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME:FILE, got {text!r}. "
            "Write one such as hf:facebook/mask2former-swin-tiny-coco-panoptic"
        )
    return Reference(text, match["repo"], match["revision"], (match["file"],) if match["file"] else ())


def _clip(text: str) -> ClipReference:
    model, _, tag = text.removeprefix(OPEN_CLIP).rpartition("/")
    if not model or not tag:
        raise MethodError(
            f"expected a CLIP as open_clip:MODEL/TAG, got {text!r}. Write one such as open_clip:ViT-B-16/openai"
        )
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if model not in open_clip.list_models():
        raise MethodError(f"open_clip knows no model {model!r}; {did_you_mean(model, open_clip.list_models())}")
    about = open_clip.get_pretrained_cfg(model, tag)
    if not about:
        raise MethodError(f"open_clip knows no weights {tag!r} of {model}; {did_you_mean(tag, tags)}")
    repo, _, file = str(about.get("hf_hub") or "").rpartition("/")
    if not repo:
        raise MethodError(f"the weights {tag!r} of {model} are on no hub. Bring their file and give its path")
    names = open_clip.get_model_config(model)["text_cfg"]
    weights = Reference(text, repo, None, _safe_names(file or _CLIP_DEFAULT))
    return ClipReference(text, model, tag, weights, names.get("hf_tokenizer_name"))


def _safe_names(file: str) -> tuple[str, ...]:
    """Under which names the safetensors of a pickled file of open_clip are found."""
    safe = f"{file.rpartition('.')[0]}.safetensors"
    return ("open_clip_model.safetensors", safe) if file == _CLIP_DEFAULT else (safe,)
