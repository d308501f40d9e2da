from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ovsbench.benchmark.errors import MethodError  # noqa: E402
from ovsbench.benchmark.types import Category, Vocabulary  # noqa: E402
from ovsbench.gkc_video.method import GKCMethod, build  # noqa: E402
from ovsbench.gkc_video.model.inference import Network, penalised  # noqa: E402
from ovsbench.gkc_video.proposals import Proposals  # noqa: E402
from ovsbench.gkc_video.tracking import ASSOCIATIONS, Linker  # noqa: E402


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"objectness": 7.0}, "objectness of method gkc: expected a number from 0 to 1, got 7"),
        ({"objectness": float("nan")}, "from 0 to 1, got nan"),
        ({"min_kept_share": -0.1}, "min_kept_share"),
        ({"side": 0}, "side of method gkc: expected at least 1, got 0"),
        ({"max_age_seconds": -1}, "max_age_seconds"),
        ({"base_logit_penalty": float("nan")}, "base_logit_penalty of method gkc: expected a number, got nan"),
    ],
)
def test_an_option_out_of_its_range_is_refused_before_weights_are_read(options: dict, sentence: str):
    with pytest.raises(MethodError, match=sentence):
        build(checkpoint=Path("never-read"), device="cpu", **options)


def test_the_method_tells_the_device_that_its_model_is_on():
    model = SimpleNamespace(no_object=torch.zeros(1))
    assert GKCMethod(Network(model), None, None, None).device == "cpu"  # type: ignore[arg-type]


def test_an_answer_that_waits_is_named_by_later_votes_too():
    """One region, called dog in its first frame and cat in the two after it."""
    words = Vocabulary((Category(4, "dog", True), Category(5, "cat", True)))
    rows = [np.array([row], np.float32) for row in ([0.9, 0.1], [0.2, 0.8], [0.1, 0.9])]
    one = np.ones((1, 1), np.float32)
    proposals = Proposals(np.ones((2, 2), np.int32), np.ones((1, 1, 1), bool), one, one[0], one)

    def named(delay: int, how: str = "combined") -> list[int]:
        linker = Linker(words, ASSOCIATIONS[how], delay)
        frames = [frame for row in rows for frame in linker.add(proposals, row)]
        assert len(frames) == max(0, 3 - delay)
        frames += linker.rest()
        assert {key for frame in frames for key in frame.segments} == ({3} if how == "combined" else {3, 4, 5})
        return [segment.category for frame in frames for segment in frame.segments.values()]

    assert named(0) == [4, 4, 5], "online: the mean of 0.9, 0.2 is still dog"
    assert named(1) == [4, 5, 5]
    assert named(2) == named(9) == [5, 5, 5]
    assert named(9, "none") == [4, 5, 5], "without tracks nobody votes"


def test_a_penalty_moves_the_choice_between_classes_and_not_whether_there_is_one():
    """Odds 4 : 2 : 1 for base, novel, nothing; a penalty of ln 4 on base leaves 1 : 2, together still 6 of 7."""
    logits = torch.tensor([[4.0, 2.0, 1.0]]).log()
    found = penalised(logits, torch.tensor([np.log(4.0), 0.0])).softmax(-1)[0]
    assert found.tolist() == pytest.approx([2 / 7, 4 / 7, 1 / 7], abs=1e-6)
    assert penalised(logits, None) is logits


def test_a_base_logit_penalty_is_held_against_the_classes_that_training_saw():
    from ovsbench.gkc_video.text import Bank

    words = Vocabulary((Category(4, "dog", True), Category(5, "cat", True, is_novel=True)))
    model = SimpleNamespace(no_object=torch.zeros(1))
    bank = Bank(("dog", "cat"), torch.eye(2), "none", "{}", {})
    made = GKCMethod(Network(model), bank, None, None, base_logit_penalty=1.5, seen=frozenset({"dog"}))  # type: ignore[arg-type]
    assert made.name_table(words).penalty.tolist() == [1.5, 0.0]
    plain = GKCMethod(Network(model), bank, None, None, seen=frozenset({"dog"}))  # type: ignore[arg-type]
    assert plain.name_table(words).penalty is None
