"""Small video files as common tools and cameras write them, each with what has to be read from it or said about it.

`python tests/corpus_video.py` prints a table of outcomes. Frames carry their number as eight black or white blocks, so
that the picture says which one it is; colours are compared with the formulas of BT.601, BT.709 and BT.2020.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from ovsbench.benchmark.errors import UserError
from ovsbench.benchmark.video.cut import cut
from ovsbench.benchmark.video.video_io import open_video, write_video

av.logging.set_level(None)
N = 30
SHORT_GROUPS = {"bf": "2", "g": "8", "sc_threshold": "0"}
OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=8:min-keyint=8:scenecut=0:bframes=2:b-adapt=0"}
OPEN_HEVC = {"x265-params": "open-gop=1:keyint=8:min-keyint=8:scenecut=0:bframes=2:b-adapt=0:log-level=none"}
QUIET = {"x265-params": "log-level=none"}
UNEVEN = [0, 4, 12, 24, 28, 36, 48, 52, 60, 72, 76, 84, 96, 100, 108, 120, 124, 132, 144, 148, 156, 168, 172, 180, 192,
          196, 204, 216, 220, 228]  # fmt: skip
"""Presentation times of 30 frames, in hundredths of a second."""


def picture(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    image = np.full((height, width, 3), 96, np.uint8)
    image[32:, :40] = (200, 40, 40)
    for bit in range(8):
        image[4:20, 8 * bit : 8 * bit + 8] = 255 * ((number >> bit) & 1)
    return image


def number(image: np.ndarray) -> int:
    return sum(int(image[12, 8 * bit + 4].mean() > 128) << bit for bit in range(8))


def make_video(path: Path, *, codec="libx264", pixels="yuv420p", options=None, size=(64, 96), times=None, turn=0,
               turned=0, muxer=None, frames=N, form=None, metadata=None) -> Path:  # fmt: skip
    with av.open(f"file:{path}", "w", options=muxer or {}, format=form) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = size[::-1] if turned % 2 else size
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if turn:
            stream.set_display_rotation(turn)
        for i in range(frames):
            image = np.ascontiguousarray(np.rot90(picture(i, *size), -turned))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def trim(path: Path, frames: int) -> Path:
    """Rewrites the edit list of an MP4 file so that players skip its first frames."""
    content = bytearray(path.read_bytes())
    at = content.find(b"elst") + 12
    duration, start = struct.unpack(">Ii", content[at : at + 8])
    content[at : at + 8] = struct.pack(">Ii", duration * (N - frames) // N, start + frames * 512)
    path.write_bytes(content)
    return path


def trimmed(path: Path) -> None:
    trim(make_video(path, options=SHORT_GROUPS), 11)


def noisy(path: Path, **how: Any) -> None:
    """Frames that compress badly, below their numbers, so that most of a file is pictures."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=how.pop("muxer", {}), format=how.pop("form", None)) as container:
        stream = container.add_stream(how.pop("codec", "libx264"), rate=25, options=how.pop("options", {"g": "10"}))
        stream.height, stream.width, stream.pix_fmt = 64, 96, how.pop("pixels", "yuv420p")
        stream.codec_context.thread_count = 1  # several make other bytes on a busy machine
        for i in range(N):
            image = picture(i)
            image[32:] = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8).repeat(2, 0).repeat(4, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def cut_off(path: Path, *, unit: int = 1, make: Callable[..., Any] = noisy, **how: Any) -> None:
    """The first 70 % of a file, in whole units of bytes."""
    make(path, **how)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10 // unit * unit])


def lossy(path: Path, **how: Any) -> None:
    """A transport stream that lacks packets in its middle."""
    noisy(path, **how)
    content = path.read_bytes()
    half = len(content) // 2 // 188 * 188
    path.write_bytes(content[:half] + content[half + 20 * 188 :])


def damaged(path: Path, value: int | None = None, size: int = 600, **how: Any) -> None:
    """A file with other bytes in its middle, where one packet ends and the next begins."""
    noisy(path, **how)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        begin = min((p.pos for p in container.demux(video=0) if p.pos), key=lambda pos: abs(pos - len(content) // 2))
    begin -= size // 2
    noise = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8).tobytes()
    content[begin : begin + size] = noise if value is None else bytes([value]) * size
    path.write_bytes(content)


def damaged_slice(path: Path) -> None:
    """H.264 in slices, with twelve other bytes within the fourth picture: a decoder of several threads sees none."""
    path.write_bytes((Path(__file__).parent / "damaged_slice.mp4").read_bytes())


def joined(path: Path, codec: str, **how: Any) -> None:
    """Two transport streams, one behind the other, as `cat` makes it."""
    parts = b""
    for count in (N, 12):
        parts += make_video(path, codec=codec, frames=count, **how).read_bytes()
    path.write_bytes(parts)


def copied(path: Path, codec: str, options: dict[str, str], *, skipped: int | None = None) -> None:
    """A stream from its second key frame on, or without its first packets, as tools cut without encoding again."""
    make_video(whole := path.with_name(f"whole-{path.stem}.mkv"), codec=codec, options=options)
    with av.open(str(whole)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        second = [index for index, packet in enumerate(packets) if packet.is_keyframe][1]
        for packet in packets[second if skipped is None else skipped :]:
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    whole.unlink()


def two_streams(path: Path, *, default: int, sizes: Sequence[tuple[int, int]], frames: int = N) -> None:
    """Two video streams; the frames of the second one carry their number plus 100."""
    with av.open(str(path), "w") as container:
        streams = []
        for index, (height, width) in enumerate(sizes):
            stream = container.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            stream.disposition = av.stream.Disposition.default if index == default else av.stream.Disposition(0)
            streams.append(stream)
        for i in range(frames):
            for index, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
                container.mux(
                    stream.encode(av.VideoFrame.from_ndarray(picture(i + 100 * index, *size), format="rgb24"))
                )
        for stream in streams:
            container.mux(stream.encode(None))


def cover_art(path: Path, *, alone: bool = False) -> None:
    """A picture that is attached to the file, larger than the video and before it, and a video unless `alone`."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg")
        cover.height, cover.width, cover.pix_fmt, cover.time_base = 400, 600, "yuvj420p", Fraction(1, 25)
        cover.disposition = av.stream.Disposition.attached_pic
        other = container.add_stream("aac", rate=8000) if alone else container.add_stream("libx264", rate=25)
        if not alone:
            other.height, other.width, other.pix_fmt = 64, 96, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((400, 600, 3), np.uint8), format="rgb24")))
        if alone:
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 8000
            container.mux(other.encode(sound))
        for i in range(0 if alone else N):
            container.mux(other.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        for stream in (cover, other):
            container.mux(stream.encode(None))


def attachment(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        container.add_attachment("font.ttf", "application/x-truetype-font", bytes(500))
        for i in range(N):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode(None))


def latin_metadata(path: Path) -> None:
    make_video(path, metadata={"title": "caf\u00e9\u00e9"})
    path.write_bytes(path.read_bytes().replace("caf\u00e9\u00e9".encode(), b"caf\xe9\xe9\xe9\xe9"))


def animation(path: Path, *, form: str, frames: int = N, **how: Any) -> None:
    images = [PIL.Image.fromarray(picture(i)) for i in range(frames)]
    images[0].save(path, form, save_all=True, append_images=images[1:], **how)


def grey_16(path: Path) -> None:
    """Values of 16 bits whose high byte is 240 at the left and 60 at the right."""
    values = np.full((64, 96), 240 * 257, np.uint16)
    values[:, 48:] = 60 * 257
    PIL.Image.fromarray(values).save(path)


def with_alpha(path: Path) -> None:
    image = np.dstack([picture(5), np.full((64, 96), 7, np.uint8)])
    PIL.Image.fromarray(image).save(path)


def with_orientation(path: Path, orientation: int) -> None:
    image = PIL.Image.fromarray(np.rot90(picture(5), {8: 3, 6: 1, 3: 2}[orientation]).copy())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)


def previews(path: Path) -> None:
    """A JPEG with a second picture, as cameras write it (MPO)."""
    PIL.Image.fromarray(picture(5)).save(
        path, "MPO", save_all=True, append_images=[PIL.Image.fromarray(picture(6))], quality=95
    )


PATCHES = ((100, 90, 200), (180, 170, 60), (60, 128, 128), (200, 110, 150))  # Y, Cb, Cr of 8 bits, in quarters


def patches(path: Path, *, size=(64, 96), matrix=None, range_tag=None, transfer=None, codec="ffv1", pixels="yuv420p",
            options=None) -> None:  # fmt: skip
    """Four flat patches one above the other, written as they are, with tags or without."""
    height, width = size
    base = np.repeat(np.array(PATCHES, np.uint8), height // 4, 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        tags = {"colorspace": matrix, "color_range": range_tag, "color_trc": transfer}
        for name, value in tags.items():
            if value is not None:
                setattr(stream.codec_context, name, value)
        for i in range(3):
            frame = av.VideoFrame(width, height, pixels)
            shift = 2 if "10" in pixels else 0
            for plane, channel in zip(frame.planes, (*base.T, np.full(height, 128, np.uint8)), strict=False):
                rows = channel[:: height // plane.height].astype(np.uint16) << shift
                data = np.zeros(
                    (plane.height, plane.line_size // (2 if shift else 1)), np.uint16 if shift else np.uint8
                )
                data[:, : plane.width] = rows[:, None]
                plane.update(data.tobytes())
            frame.pts, frame.time_base = i, Fraction(1, 25)
            for name, value in tags.items():
                if value is not None and hasattr(frame, name):
                    setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def rgb(patch: tuple[int, int, int], red: float, blue: float, *, full: bool = False) -> list[int]:
    """The formula of BT.601, BT.709 and BT.2020: R'G'B' of Y'CbCr, from the weights of red and blue in Y'."""
    scale, offset, chroma = (255, 0, 255) if full else (219, 16, 224)
    y, cb, cr = (patch[0] - offset) / scale, (patch[1] - 128) / chroma, (patch[2] - 128) / chroma
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    return [round(255 * min(1, max(0, value))) for value in (r, g, b)]


BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@dataclass(frozen=True)
class Case:
    """A file, and what has to come of it.

    Attributes:
        name: of the file.
        make: writes it.
        frames: numbers that its frames carry; None where `colours` are compared, or it is refused.
        refusal: what the sentence says.
        options: of `open_video`.
        seconds: when the frames are shown; None where that is not compared.
        size: (height, width), where that is not the usual one.
        colours: of the four patches, and how far each value may be off.
        is_prefix: whether fewer frames are right as well, but 15, with a note.
        cut: options of `cut`, applied after opening.
    """

    name: str
    make: Callable[[Path], Any]
    frames: Sequence[int] | None = None
    refusal: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    seconds: Sequence[float] | None = None
    size: tuple[int, int] = (64, 96)
    colours: Sequence[Sequence[int]] | None = None
    is_prefix: bool = False
    cut: dict[str, Any] = field(default_factory=dict)


def outcome(case: Case, folder: Path) -> str:
    """What comes of a file: "right: ...", "refused: ..." where it has to be, else "wrong: ..."."""
    path = folder / case.name
    case.make(path)
    try:
        video = cut(open_video(path, **case.options), **case.cut)
        images = list(video.images())
    except UserError as error:
        is_right = bool(case.refusal and re.search(case.refusal, str(error))) and case.name in str(error)
        return f"{'refused' if is_right else 'wrong'}: {str(error).replace(str(path), case.name)}"
    if case.refusal:
        return f"wrong: read as {len(images)} frames"
    if video.size != case.size:
        return f"wrong: size {video.size}"
    if case.colours is not None:
        rows = images[0][case.size[0] // 8 :: case.size[0] // 4, 10].astype(int)
        # FFmpeg's own conversion is off by as much.
        off = int(np.abs(rows - np.array(case.colours)).max())
        return f"{'right' if off <= 3 else 'wrong'}: colours off by {off}"
    numbers, expected = [number(image) for image in images], list(case.frames or ())
    if case.is_prefix:
        expected = expected[: len(numbers)] if len(numbers) >= 15 and video.notes else expected
    if numbers != expected:
        return f"wrong: frames {numbers}"
    if case.seconds is not None:
        times = [video.seconds(index) for index in range(len(video))]
        if not np.allclose(times, case.seconds, atol=2e-3):
            return f"wrong: times {times}"
    return f"right: {len(images)} frames{f' ({video.notes[0]})' if video.notes else ''}"


ALL = range(N)
EVEN = [i / 25 for i in range(N)]
AS_HUNDREDTHS = [t / 100 for t in UNEVEN]


def whole(name: str, **how: Any) -> Case:
    return Case(name, partial(make_video, **how), ALL)


def truncated(name: str, **how: Any) -> list[Case]:
    made = partial(cut_off, **how)
    return [
        Case(f"refused-{name}", made, refusal="the file is cut off.*--allow-truncated"),
        Case(f"allowed-{name}", made, ALL, options={"allow_truncated": True}, is_prefix=True),
    ]


def coloured(name: str, weights: tuple[float, float], *, full: bool = False, **how: Any) -> Case:
    colours = [rgb(patch, *weights, full=full) for patch in PATCHES]
    return Case(name, partial(patches, **how), colours=colours, size=how.get("size", (64, 96)))


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
MPEG2 = {"g": "8", "bf": "2", "qscale": "2"}
PREVIEW = ((48, 80), (96, 160))

CASES: list[Case] = [
    # Whole files of many formats: each frame once, in order.
    replace(whole("b_frames.mp4", options=SHORT_GROUPS), seconds=EVEN),
    whole("hevc.mp4", codec="libx265", options=QUIET),
    whole("av1.mp4", codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"}, frames=N),
    whole("fragments.mp4", options=SHORT_GROUPS, muxer=FRAGMENTS),
    whole("dash.mp4", options=SHORT_GROUPS, muxer={"movflags": "dash+frag_keyframe+empty_moov"}),
    whole("delayed_moov.mp4", options=SHORT_GROUPS, muxer={"movflags": "frag_keyframe+delay_moov"}),
    Case("edit_list.mp4", trimmed, range(11, N), seconds=EVEN[:19]),
    replace(whole("matroska.mkv", options=SHORT_GROUPS), seconds=EVEN),
    whole("live.mkv", options=SHORT_GROUPS, muxer={"live": "1"}),
    Case("attachment.mkv", attachment, ALL),
    whole("vp8.webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    whole("vp9.webm", codec="libvpx-vp9", options={"g": "8"}),
    whole("mpeg4.avi", codec="mpeg4"),
    whole("h264.avi", options=SHORT_GROUPS),
    whole("motion_jpeg.avi", codec="mjpeg", pixels="yuvj420p"),
    whole("h264.ts", options=SHORT_GROUPS),
    whole("mpeg2.ts", codec="mpeg2video", options=MPEG2),
    whole("hevc.ts", codec="libx265", options=QUIET),
    whole("h264.m2ts", options=SHORT_GROUPS),
    Case("joined_h264.ts", partial(joined, codec="libx264"), [*ALL, *range(12)]),
    Case("joined_mpeg2.ts", partial(joined, codec="mpeg2video", options=MPEG2), [*ALL, *range(12)]),
    whole("h264.flv", options=SHORT_GROUPS),
    whole("windows.wmv", codec="wmv2"),
    whole("program.mpg", codec="mpeg2video", options=MPEG2),
    whole("vp8.ogv", codec="libvpx", form="ogg"),
    whole("lossless.nut", codec="ffv1"),
    whole("vp8.ivf", codec="libvpx"),
    whole("raw.h264", options=SHORT_GROUPS),
    whole("raw.hevc", codec="libx265", options=QUIET),
    whole("raw.y4m", codec="wrapped_avframe"),
    whole("animated.gif", codec="gif", pixels="rgb8"),
    whole("animated.apng", codec="apng", pixels="rgb24"),
    *(whole(f"turned_{turn}.mp4", turn=turn, turned=count) for turn, count in ((90, 1), (180, 2), (-90, 3))),
    # Presentation times.
    *(
        replace(whole(f"uneven.{end}", codec=codec, options=options, times=UNEVEN), seconds=AS_HUNDREDTHS)
        for end, codec, options in (
            ("mp4", "libx264", SHORT_GROUPS),
            ("mkv", "libx264", SHORT_GROUPS),
            ("webm", "libvpx", {}),
            ("ts", "libx264", SHORT_GROUPS),
            ("flv", "libx264", SHORT_GROUPS),
        )
    ),
    Case(
        "cut.mp4",
        partial(make_video, times=UNEVEN),
        ALL[13:20],
        cut={"start": "1s", "end": "1.5s"},
        seconds=AS_HUNDREDTHS[13:20],
    ),
    Case(
        "every.mkv",
        partial(make_video, times=UNEVEN),
        ALL[14::3],
        cut={"start": "1.05s", "every": 3},
        seconds=AS_HUNDREDTHS[14::3],
    ),
    Case(
        "rewritten.mp4",
        lambda path: write_video(path, map(picture, ALL), 13.0, AS_HUNDREDTHS),
        ALL,
        seconds=AS_HUNDREDTHS,
    ),
    # Files that are cut off.
    *truncated("live.mkv", muxer={"live": "1"}),
    *truncated("h264.mkv"),
    *truncated("vp9.webm", codec="libvpx-vp9"),
    *truncated("h264.ts"),
    *truncated("between_packets.ts", unit=188),
    *truncated("hevc.ts", codec="libx265", options=QUIET),
    *truncated("mpeg2.m2ts", codec="mpeg2video", options=MPEG2),
    *truncated("grey.gif", codec="gif", pixels="gray"),
    *truncated("vp8.ogv", codec="libvpx", form="ogg"),
    *truncated("h264.avi", options={"bf": "0"}),
    *truncated("h264.flv"),
    *truncated("windows.wmv", codec="wmv2"),
    *truncated("mpeg2.mpg", codec="mpeg2video", options=MPEG2),
    *truncated("index_first.mp4", muxer={"movflags": "faststart"}),
    *truncated("fragments.mp4", muxer=FRAGMENTS),
    *truncated("animated.apng", codec="apng", pixels="rgb24"),
    Case("no_index.mp4", cut_off, refusal="expected a readable video file"),
    # Damage in the middle.
    Case("damaged.mp4", damaged, refusal="damaged"),
    Case("damaged_allowed.mp4", damaged, refusal="damaged", options={"allow_truncated": True}),
    Case("damaged.ts", damaged, refusal="damaged"),
    Case("damaged_slice.mp4", damaged_slice, refusal="frame 3 is damaged"),
    Case("damaged_hevc.mp4", partial(damaged, codec="libx265", options=QUIET), refusal="damaged|cannot be decoded"),
    Case("damaged.webm", partial(damaged, codec="libvpx-vp9"), refusal="damaged at byte"),
    Case("damaged.avi", partial(damaged, codec="mpeg4"), refusal="damaged, before the end"),
    Case("lossy.ts", lossy, refusal="packet .* is damaged"),
    Case("lossy_hevc.ts", partial(lossy, codec="libx265", options=QUIET), refusal="packet .* is damaged"),
    Case("hole.mkv", partial(damaged, value=0, size=3000), refusal="damaged"),
    # Streams.
    Case("second_is_default.mkv", partial(two_streams, default=1, sizes=PREVIEW), range(100, 130), size=(96, 160)),
    Case("second_is_default.mp4", partial(two_streams, default=1, sizes=PREVIEW), range(100, 130), size=(96, 160)),
    Case("first_is_default.mkv", partial(two_streams, default=0, sizes=PREVIEW), ALL, size=(48, 80)),
    Case("larger.mkv", partial(two_streams, default=2, sizes=PREVIEW), range(100, 130), size=(96, 160)),
    Case("chosen.mkv", partial(two_streams, default=1, sizes=PREVIEW), ALL, size=(48, 80), options={"stream": 0}),
    Case(
        "absent_stream.mkv",
        partial(two_streams, default=1, sizes=PREVIEW),
        options={"stream": 2},
        refusal=r"number of a video stream, got 2.*0 \(80x48 h264\), 1 \(160x96 h264\)",
    ),
    Case("cover_first.mp4", cover_art, ALL),
    Case("cover_alone.mp4", partial(cover_art, alone=True), refusal="only cover art"),
    # Pictures that need frames from before the start.
    Case("open_hevc.ts", partial(copied, codec="libx265", options=OPEN_HEVC), range(8, N)),
    Case("open_hevc.mkv", partial(copied, codec="libx265", options=OPEN_HEVC), range(8, N)),
    Case("open_h264.mkv", partial(copied, codec="libx264", options=OPEN_GROUPS), range(8, N)),
    Case("open_mpeg2.ts", partial(copied, codec="mpeg2video", options=MPEG2), range(9, N)),
    Case("within_a_group.ts", partial(copied, skipped=3, codec="mpeg2video", options={"g": "8"}), range(8, N)),
    # Animations called images.
    Case("animated.webp", partial(animation, form="WEBP", lossless=True, duration=40), ALL, seconds=EVEN),
    Case("animated.png", partial(animation, form="PNG", duration=40), ALL, seconds=EVEN),
    Case("hidden_first.png", partial(animation, form="PNG", duration=40, default_image=True), ALL[1:]),
    Case("pages.tif", partial(animation, form="TIFF"), ALL),
    Case(
        "short.webp", partial(cut_off, make=animation, form="WEBP", lossless=True), refusal="expected a readable|read"
    ),
    Case("short.png", partial(cut_off, make=animation, form="PNG"), refusal="cannot be read"),
    Case("previews.jpg", previews, [5]),
    # Colours.
    coloured("tagged_601.mkv", BT601, matrix=5),
    coloured("tagged_709.mkv", BT709, matrix=1),
    coloured("tagged_2020.mkv", BT2020, matrix=9),
    coloured("untagged_sd.mkv", BT601),
    coloured("untagged_hd.mkv", BT709, size=(720, 1280)),
    coloured("tagged_601_hd.mkv", BT601, size=(720, 1280), matrix=6),
    coloured("full_601.mkv", BT601, full=True, range_tag=2),
    coloured("full_709.mkv", BT709, full=True, matrix=1, range_tag=2),
    coloured("full_jpeg.avi", BT601, full=True, pixels="yuvj420p", codec="mjpeg", options={"qmin": "1", "qmax": "1"}),
    coloured("ten_bits.mkv", BT709, matrix=1, pixels="yuv420p10le"),
    coloured("alpha.mkv", BT601, pixels="yuva420p"),
    coloured("fours.mkv", BT709, matrix=1, pixels="yuv444p"),
    Case("pq.mkv", partial(patches, matrix=9, transfer=16, pixels="yuv420p10le"), refusal=r"HDR \(PQ\)"),
    Case("hlg.mkv", partial(patches, matrix=9, transfer=18, pixels="yuv420p10le"), refusal=r"HDR \(HLG\)"),
    Case("ycgco.mkv", partial(patches, matrix=8), refusal="matrix 8 of H.273"),
    Case("alpha.png", with_alpha, [5]),
    *(
        Case(f"exif_{how}.{end}", partial(with_orientation, orientation=how), [5])
        for how, end in ((6, "jpg"), (8, "png"), (3, "webp"))
    ),
    Case("grey_16.png", grey_16, colours=[[240] * 3] * 4),
    # Names and text.
    Case("latin_metadata.mp4", latin_metadata, ALL),
    whole("Screencast-12:30:11.mp4"),
    whole("-leading 100%03d.mkv"),
]


def main() -> None:
    begin, wrong = time.monotonic(), 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            said = outcome(case, Path(folder))
        wrong += said.startswith("wrong")
        print(f"{case.name:28} {said}")
    print(f"{len(CASES)} files, {wrong} wrong, {time.monotonic() - begin:.1f} s")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
