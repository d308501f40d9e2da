"""Makes `import torchvision` work beside a CPU build of torch; call `prepare()` before open_clip, timm or transformers.

The torchvision wheel on package indexes is built against CUDA torch. Beside a CPU torch its compiled operators do not
load, and the import stops at the first operator that was never declared. Declaring two of them is enough: nothing
here calls them. Beside a CUDA torch the first import succeeds and nothing is declared.
"""

from __future__ import annotations

import sys
from typing import Any

_declared: list[Any] = []  # the library object has to outlive the import


def prepare() -> None:
    """Imports torchvision, after declaring its missing operators if that is why the import fails.

    Raises:
        RuntimeError: the import fails for another reason.
    """
    if "torchvision" in sys.modules:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torch

        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        import torchvision  # noqa: F401
