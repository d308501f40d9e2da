"""Every family of CLIP that open_clip knows, each with its own parts but a few thousand times smaller, random weights.

Image towers of timm are registered with timm under names of their own, as open_clip can only ask timm for a name.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ovsbench.gkc_video.torchvision_shim import prepare

prepare()

import open_clip  # noqa: E402
import torch  # noqa: E402
from timm.models import convnext, eva, fastvit, register_model  # noqa: E402
from timm.models import vision_transformer as vits  # noqa: E402
from timm.models import vision_transformer_hybrid as hybrid  # noqa: E402

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
SIGLIP_TEXT = {**TEXT, "context_length": 64, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}


@register_model
def ovsbench_siglip(pretrained: bool = False, **settings: Any) -> Any:
    """Patches without a class token, which an attention pool reads."""
    size = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return vits.VisionTransformer(class_token=False, **size, **_own(settings))


@register_model
def ovsbench_eva02(pretrained: bool = False, **settings: Any) -> Any:
    """Rotary positions, SwiGLU and a norm inside the perceptron."""
    size = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    parts = {"qkv_fused": False, "mlp_ratio": 2, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    return eva.Eva(use_rot_pos_emb=True, ref_feat_shape=(2, 2), **parts, **size, **_own(settings))


@register_model
def ovsbench_mci(pretrained: bool = False, **settings: Any) -> Any:
    """MobileCLIP's FastViT: stages, and a convolution behind the last."""
    size = {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128), "mlp_ratios": (2, 2, 2, 2)}
    mixers = ("repmixer", "repmixer", "repmixer", "attention")
    return fastvit.FastVit(token_mixers=mixers, se_downsamples=(False,) * 4, **size, **_own(settings))


@register_model
def ovsbench_mci_vit(pretrained: bool = False, **settings: Any) -> Any:
    """MobileCLIP-B: a ViT whose patches come from a stem of convolutions."""
    stem = hybrid.ConvStem(
        channels=(8, 8, 32), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=torch.nn.GELU
    )
    layer = partial(hybrid.HybridEmbed, backbone=stem, proj=False)
    size = {"img_size": 32, "patch_size": 1, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return vits.VisionTransformer(no_embed_class=True, embed_layer=layer, **size, **_own(settings))


@register_model
def ovsbench_convnext(pretrained: bool = False, **settings: Any) -> Any:
    """Four stages."""
    net = convnext.ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), **_own(settings))
    net.default_cfg = {"pool_size": (7, 7)}  # which open_clip reads
    return net


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without what timm notes of a model of its own list."""
    notes = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    return {key: value for key, value in settings.items() if key not in notes}


def _timm(name: str, pool: str, proj: str | None) -> dict[str, Any]:
    return {"image_size": 32, "timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool,
            "timm_proj": proj}  # fmt: skip


_VIT = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
_COCA_TEXT = {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True}
_COCA = {
    "custom_text": True,
    "vision_cfg": {**_VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
    "text_cfg": _COCA_TEXT,
    "multimodal_cfg": {**TEXT, "context_length": 76, "attn_pooler_heads": 4},
}
_SIGLIP = {"custom_text": True, "init_logit_bias": -10, "vision_cfg": _timm("ovsbench_siglip", "map", "none")}
# SigLIP is called sigmoid here: by its own name open_clip would fetch its tokenizer.
FAMILIES: dict[str, dict[str, Any]] = {
    "rn": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}, "quick_gelu": True},
    "vit": {"vision_cfg": _VIT},
    "dfn": {"vision_cfg": _VIT, "quick_gelu": True},
    "convnext": {"vision_cfg": _timm("ovsbench_convnext", "", "linear")},
    "sigmoid": {**_SIGLIP, "text_cfg": SIGLIP_TEXT},
    "sigmoid2": {**_SIGLIP, "text_cfg": {**SIGLIP_TEXT, "act_kwargs": {"approximate": "tanh"}}},
    "eva02": {"custom_text": True, "vision_cfg": _timm("ovsbench_eva02", "token", None)},
    "mobileclip": {"custom_text": True, "vision_cfg": _timm("ovsbench_mci", "avg", None),
                   "text_cfg": {**TEXT, "no_causal_mask": True}},
    "mobileclip-b": {"custom_text": True, "vision_cfg": _timm("ovsbench_mci_vit", "token", None)},
    "coca": _COCA,
}  # fmt: skip


def register(folder: Path) -> list[str]:
    """Tells open_clip of all of them; their names."""
    for name, config in FAMILIES.items():
        path = folder / f"small-{name}.json"
        path.write_text(json.dumps({"embed_dim": 32, "text_cfg": TEXT, **config}))
        open_clip.add_model_config(path)
    return [f"small-{name}" for name in FAMILIES]
