"""`ovsbench predict` on video files: its options for streams and cut-off files, and the times of what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

pytest.importorskip("av")
from corpus_video import AS_HUNDREDTHS, UNEVEN, cut_off, make_video, two_streams

from ovsbench.benchmark.video.video_io import open_video
from ovsbench.cli import app


def predict(video: Path, *options: str) -> tuple[int, str, dict]:
    """Exit code, what was said, and the JSON output, of the method that answers one class everywhere."""
    named = ["predict", str(video), "--names", "a, b", "-m", "constant", "--option", "category=a", "--json"]
    result = CliRunner().invoke(app, [*named, "-o", str(video.with_name("out.mp4")), *options])
    text = " ".join((result.stderr or str(result.exception)).split())
    return result.exit_code, text, json.loads(result.stdout) if result.exit_code == 0 else {}


def test_the_overlay_keeps_the_uneven_times_of_the_part_that_was_cut(tmp_path: Path):
    video = make_video(tmp_path / "uneven.mkv", times=UNEVEN)
    code, text, told = predict(video, "--start", "1s", "--end", "2s")
    assert code == 0, text
    kept = [time for time in AS_HUNDREDTHS if 1 <= time < 2]
    assert told["frames"] == len(kept)
    written = open_video(tmp_path / "out.mp4")
    assert written.times == pytest.approx([time - kept[0] for time in kept], abs=1e-4)


def test_a_cut_off_video_is_refused_or_noted_in_the_record(tmp_path: Path):
    cut_off(tmp_path / "short.mkv")
    code, text, _ = predict(tmp_path / "short.mkv")
    assert code == 1
    assert "the file is cut off" in text
    assert not (tmp_path / "out").exists()
    code, text, told = predict(tmp_path / "short.mkv", "--allow-truncated")
    assert code == 0, text
    notes = json.loads((tmp_path / "out/names.json").read_text())["notes"]
    assert notes == told["notes"]
    assert notes[0].startswith("cut off")


def test_another_stream_is_read_where_it_is_asked_for(tmp_path: Path):
    two_streams(tmp_path / "two.mkv", default=1, sizes=((48, 80), (96, 160)), frames=3)
    for options, size in (((), [96, 160]), (("--stream", "0"), [48, 80])):
        code, text, _ = predict(tmp_path / "two.mkv", *options)
        assert code == 0, text
        assert json.loads((tmp_path / "out/objects.jsonl").read_text().splitlines()[0])["size"] == size


def test_pictures_of_a_gif_without_times_are_not_left_out_in_silence(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 80, 3), np.uint8)  # without a pixel that stays as it was
    pictures = [PIL.Image.fromarray(pixels) for pixels in noise]
    for options, frames in (({"duration": 100}, 3), ({"loop": 0}, 3), ({}, None)):
        pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], **options)
        code, text, told = predict(tmp_path / "a.gif")
        if frames is None:
            assert (code, "expected a time for each picture of a GIF87a" in text) == (1, True), text
        else:
            assert (code, told["frames"]) == (0, frames), text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--start", "soon"], "expected a frame number or seconds"),
        (["--start", "9" * 5000], "expected a frame number or seconds"),
        (["-o", "out.avi"], "expected an output file that ends in .mp4"),
        (["-o", "s3://bucket/out.mp4"], "expected a file or folder of this machine here, got s3://bucket/out.mp4"),
    ],
)
def test_a_value_of_another_form_is_wrong_usage(tmp_path: Path, options: list[str], said: str):
    code, text, _ = predict(make_video(tmp_path / "a.mkv", times=UNEVEN), *options)
    assert (code, said in text) == (2, True), text


TRACKS = """
import numpy as np
from ovsbench.benchmark.storage import rle
from ovsbench.benchmark.types import InstanceFrame, InstanceMask, InstanceTrack

TASKS = ("instance",)


class Method:
    def __init__(self, whole, fails):
        self.whole, self.fails = whole, fails

    def predict(self, video, vocabulary, rules):
        assert rules.task == "instance"
        names = [category.id for category in vocabulary]
        first, second = np.zeros((2, *video.size), bool)
        first[:20, :30], second[10:40, :] = True, True
        if self.whole:
            shown = [rle.encode(second)] * len(video)
            yield InstanceTrack(1, names[0], [rle.encode(first), None, *[rle.encode(first)] * (len(video) - 2)], 0.75)
            yield InstanceTrack(2, names[1], shown, 0.5)
        else:
            for index in range(len(video)):
                one = [InstanceMask(1, first, {names[0]: 0.75})] if index != 1 else []
                yield InstanceFrame((*one, InstanceMask(2, second, {names[1]: 0.5})))
        if self.fails:
            raise RuntimeError("at the end")


def build(*, checkpoint, device, whole: bool = False, fails: bool = False):
    return Method(whole, fails)
"""


def test_objects_that_overlap_are_painted_and_listed_with_their_whole_masks(tmp_path: Path):
    video, file = make_video(tmp_path / "uneven.mkv", times=UNEVEN), tmp_path / "tracks.py"
    file.write_text(TRACKS)
    told = {}
    for whole in ("false", "true"):
        out = tmp_path / f"{whole}.mp4"
        named = ["predict", str(video), "--names", "a, b", "-m", f"{file}:build", "--option", f"whole={whole}", "--rle"]
        done = CliRunner().invoke(app, [*named, "--json", "-o", str(out)])
        assert done.exit_code == 0, done.stderr
        told[whole] = json.loads(done.stdout)
        lines = [json.loads(line) for line in (tmp_path / whole / "objects.jsonl").read_text().splitlines()]
        assert len(lines) == told[whole]["frames"] == len(open_video(out))
        both = [(one["track"], one["name"], one["score"], one["area"], one["box"]) for one in lines[0]["objects"]]
        width = lines[0]["size"][1]
        assert both == [(1, "a", 0.75, 600, [0, 0, 30, 20]), (2, "b", 0.5, 30 * width, [0, 10, width, 30])]
        assert [one["track"] for one in lines[1]["objects"]] == [2]
        assert lines[1]["objects"][0]["counts"]
        assert {"names.json", "sheet.png", "tracks.jsonl", "video.json"} < {
            p.name for p in (tmp_path / whole).iterdir()
        }
    assert (told["false"]["found"], told["false"]["tracks"]) == (told["true"]["found"], told["true"]["tracks"])
    assert told["true"]["found"]["a"] == told["true"]["frames"] - 1
    files = [(tmp_path / whole / "tracks.jsonl").read_bytes() for whole in told]
    assert files[0] == files[1]
    failing = [*named, "--option", "fails=true", "-o", str(tmp_path / "true.mp4")]
    assert CliRunner().invoke(app, failing).exit_code == 1
    assert (tmp_path / "true/tracks.jsonl").read_bytes() == files[1], "what was there stays"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
