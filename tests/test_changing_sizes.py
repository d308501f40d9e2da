"""Video files whose pictures change their size are refused at the first such frame, and never given to decord."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
from ovsbench.benchmark.errors import DataError  # noqa: E402
from ovsbench.benchmark.video.video_io import open_video  # noqa: E402

REPEATED = {
    "libx264": {"x264-params": "repeat-headers=1:bframes=0"},
    "libx265": {"x265-params": "repeat-headers=1:bframes=0:log-level=none"},
}
SIZES = [(64, 48), (96, 80), (64, 48)]


def encoded(codec: str, width: int, height: int, count: int = 5) -> list[bytes]:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25, 1)
    encoder.options = REPEATED.get(codec, {"lag-in-frames": "0"})
    packets = []
    for number in range(count):
        picture = np.full((height, width, 3), 20 * number, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    return [bytes(packet) for packet in [*packets, *encoder.encode(None)]]


def write(path: Path, codec: str, sizes: list[tuple[int, int]]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        stream.options = REPEATED.get(codec, {})
        number = 0
        for size in sizes:
            for place, data in enumerate(encoded(codec, *size)):
                packet = av.Packet(data)
                packet.pts = packet.dts = number
                packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, place == 0
                container.mux(packet)
                number += 1
    return path


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_change_of_size_is_noticed_and_nothing_else_is(codec, suffix, tmp_path):
    same = open_video(write(tmp_path / f"same.{suffix}", codec, [SIZES[0]] * 3))
    assert len([same.image(index) for index in range(len(same))]) == 15
    changing = write(tmp_path / f"changing.{suffix}", codec, SIZES)
    video = open_video(changing)
    assert video.image(4).shape == (48, 64, 3)
    with pytest.raises(DataError, match="frame 00005: expected an image of 64x48 pixels, got 96x80"):
        video.image(5)
    assert video.image(12).shape == (48, 64, 3)
    pytest.importorskip("decord")
    with pytest.raises(DataError, match="frames of one size"):
        open_video(changing, "decord")
