"""Frames in batches: every frame-wise method gives what it gives one by one, and reads tensors once or twice a batch.

A method that names the masks of another one has to know how many there are before it can cut them out; it reads twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from test_closed_set import mask2former, saved  # noqa: E402

from ovsbench.benchmark import manifest, methods  # noqa: E402
from ovsbench.data_prep.world.build import WorldSettings, build_world  # noqa: E402
from ovsbench.gkc_video.checkpoint import shipped  # noqa: E402

torch.set_num_threads(1)
FRAMES = 8
METHODS: dict[str, tuple[str, dict[str, str], int]] = {
    "gkc": ("gkc-world-fast", {}, 1),
    "closed-set": ("", {"clip": "clip-world", "threshold": "0", "objectness": "0"}, 1),
    "dense": ("clip-world", {}, 1),
    "dense on masks": ("clip-world", {"masks": "gkc-world-fast"}, 2),
    "two-stage": ("gkc-world-fast", {"clip": "clip-world"}, 2),
    "fc-clip": ("gkc-world-fast", {"clip": "clip-world"}, 2),
}
"""Of each its checkpoint, its options, and how often it reads in a batch."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> manifest.Benchmark:
    return build_world(
        tmp_path_factory.mktemp("world") / "dev", WorldSettings("dev", videos=1, frames=FRAMES, size=(96, 160))
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the tensors that were read by the host."""
    seen: list[tuple[int, ...]] = []
    for name in ("numpy", "tolist", "item", "__array__"):
        real = getattr(torch.Tensor, name)

        def counted(tensor: Any, *args: Any, real: Any = real, **kwargs: Any) -> Any:
            seen.append(tuple(tensor.shape))
            return real(tensor, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    return seen


@pytest.mark.skipif("gkc-world-fast" not in shipped(), reason="the shipped checkpoints are not here")
@pytest.mark.parametrize("name", METHODS)
def test_batches_change_nothing_and_are_read_once_or_twice(
    name: str, world: manifest.Benchmark, reads: list[tuple[int, ...]], tmp_path: Path
):
    checkpoint, options, expected = METHODS[name]
    if name == "closed-set":
        checkpoint = str(saved(mask2former, tmp_path / "folder"))
    video, answers = world.videos[0], {}
    for batch in (1, FRAMES // 2):
        method = methods.create(name.split()[0], checkpoint=checkpoint, device="cpu",
                                options={**options, "batch": str(batch)})  # fmt: skip
        frames = method.predict(video, world.vocabulary, world.rules)
        answers[batch] = [next(frames)]
        reads.clear()  # of the names, once a video, and of the first batch
        answers[batch] += list(frames)
        assert len(reads) == expected * (FRAMES // batch - 1), reads
    for one, other in zip(answers[1], answers[FRAMES // 2], strict=True):
        assert (one.ids == other.ids).mean() > 0.999
        assert {key: part.category for key, part in one.segments.items()} == {
            key: part.category for key, part in other.segments.items()}  # fmt: skip
        for key, part in one.segments.items():
            assert part.score == pytest.approx(other.segments[key].score, abs=1e-3)
    assert all(frame.segments for frame in answers[1])
