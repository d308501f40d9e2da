from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from benchmark.errors import MethodError  # noqa: E402
from gkc_video.method import GKCMethod, build  # noqa: E402


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"objectness": 7.0}, "objectness of method gkc: expected a number from 0 to 1, got 7"),
        ({"objectness": float("nan")}, "from 0 to 1, got nan"),
        ({"overlap": -0.1}, "overlap"),
        ({"side": 0}, "side of method gkc: expected at least 1, got 0"),
        ({"patience": -1}, "patience"),
    ],
)
def test_an_option_out_of_its_range_is_refused_before_weights_are_read(options: dict, sentence: str):
    with pytest.raises(MethodError, match=sentence):
        build(checkpoint=Path("never-read"), device="cpu", **options)


def test_the_method_tells_the_device_that_its_model_is_on():
    model = SimpleNamespace(no_object=torch.zeros(1))
    assert GKCMethod(model, None, None, None).device == "cpu"  # type: ignore[arg-type]
