"""`ovsbench predict` on video files: its options for streams and cut-off files, and the times of what it writes."""

from __future__ import annotations

import json
from pathlib import Path

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
