"""Every frame number of a video is one certain picture, whatever the file, the decoder and the order of asking.

The frames carry their number as eight black or white blocks, so a test reads from the picture which frame it is.
"""

import random
import wave
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.types import Video
from ovsbench.benchmark.video.images import natural_key, read_image
from ovsbench.benchmark.video.probe import Turn, probe
from ovsbench.benchmark.video.video_io import open_video, write_video

av = pytest.importorskip("av")
from corpus_video import CASES, SHORT_GROUPS, Case, N, make_video, number, outcome, picture, trim  # noqa: E402


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_of_the_corpus_is_read_as_it_has_to_be_or_refused_with_its_sentence(case: Case, tmp_path: Path):
    said = outcome(case, tmp_path)
    assert said.startswith("refused: " if case.refusal else "right: "), said


def reader(video: Video) -> str:
    return type(video.read).__name__


def assert_exact_in_any_order(video: Video, expected: list[int]) -> None:
    in_order = list(video.images())
    assert all(image.flags.writeable for image in in_order)
    assert [number(image) for image in in_order] == expected
    order = random.Random(0).sample(range(len(video)), len(video))
    for index in order:
        assert np.array_equal(video.image(index), in_order[index]), f"frame {index} after a jump is another picture"


FILES = {
    # name: (how to make it, whether decord agrees with PyAV)
    "b_frames.mp4": ({"options": SHORT_GROUPS}, True),
    "fragments.mp4": ({"options": SHORT_GROUPS, "muxer": {"movflags": "frag_keyframe+empty_moov"}}, True),
    "matroska.mkv": ({"options": SHORT_GROUPS}, True),
    "vp9.webm": ({"codec": "libvpx-vp9", "options": {"g": "8"}}, True),
    "mpeg4.mp4": ({"codec": "mpeg4", "options": {"g": "8"}}, True),
    "mpeg4_b_frames.mp4": ({"codec": "mpeg4", "options": {"g": "8", "bf": "2"}}, False),
    "open_groups.mp4": (
        {"options": {**SHORT_GROUPS, "x264-params": "open-gop=1:keyint=8:min-keyint=8:scenecut=0"}},
        False,
    ),
    "ten_bits.mp4": ({"pixels": "yuv420p10le", "options": SHORT_GROUPS}, False),
    "odd_size_444.mp4": ({"pixels": "yuv444p", "size": (65, 97)}, False),
    "variable_rate.mp4": (
        {"options": SHORT_GROUPS, "times": list(np.cumsum([4, 8, 12] * (N // 3)).tolist())},
        True,
    ),
    "transport.ts": ({"options": SHORT_GROUPS}, False),
    "no_times.avi": ({"options": SHORT_GROUPS}, False),
    "no_times.h264": ({"options": SHORT_GROUPS}, False),
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_its_frames_in_any_order(name, tmp_path):
    video = open_video(make_video(tmp_path / name, **FILES[name][0]))
    assert reader(video) == "AvReader"
    assert len(video) == N
    assert video.id == Path(name).stem
    assert_exact_in_any_order(video, list(range(N)))


@pytest.mark.parametrize("name", FILES)
def test_decord_gives_the_same_pixels_or_is_refused(name, tmp_path):
    pytest.importorskip("decord")
    path = make_video(tmp_path / name, **FILES[name][0])
    if not FILES[name][1]:
        with pytest.raises(DataError, match=r"decord .*Use the decoder 'av'"):
            open_video(path, "decord")
        return
    through_av, through_decord = open_video(path), open_video(path, "decord")
    assert reader(through_decord) == "DecordReader"
    for one, other in zip(through_av.images(), through_decord.images(), strict=True):
        assert np.array_equal(one, other)


def test_frames_trimmed_by_an_edit_list_are_not_counted(tmp_path):
    video = open_video(trim(make_video(tmp_path / "trimmed.mp4", options=SHORT_GROUPS), 11))
    assert reader(video) == "AvReader"
    assert_exact_in_any_order(video, list(range(11, N)))


def test_decord_forced_onto_an_edit_list_is_an_error_and_not_a_repeated_frame(tmp_path):
    pytest.importorskip("decord")
    path = trim(make_video(tmp_path / "trimmed.mp4", options=SHORT_GROUPS), 11)
    with pytest.raises(DataError, match=r"expected 19 frames, decord announces \d+"):
        open_video(path, "decord")


@pytest.mark.parametrize(("degrees", "quarter_turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_stored_rotation_is_applied(degrees, quarter_turns, tmp_path):
    upright = open_video(make_video(tmp_path / "plain.mp4", frames=2))
    turned = open_video(make_video(tmp_path / "turned.mp4", frames=2, turn=degrees))
    assert turned.size == (upright.size if quarter_turns == 2 else upright.size[::-1])
    assert np.array_equal(turned.image(1), np.rot90(upright.image(1), quarter_turns))


def test_the_eight_display_matrices_are_read_and_others_refused():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)

    def turn(xx, xy, yx, yy):
        return Turn.of_matrix([v * 65536 for v in (xx, xy, 0, yx, yy, 0, 0, 0)], Path("a.mp4"))

    assert np.array_equal(turn(1, 0, 0, 1)(image), image)
    assert np.array_equal(turn(-1, 0, 0, 1)(image), image[:, ::-1])
    assert np.array_equal(turn(1, 0, 0, -1)(image), image[::-1])
    assert np.array_equal(turn(0, 1, 1, 0)(image), image.swapaxes(0, 1))
    assert np.array_equal(turn(0, -1, 1, 0)(image), np.rot90(image))
    assert len({turn(*m)(image).tobytes() for m in [(a, 0, 0, b) for a in (1, -1) for b in (1, -1)]
                + [(0, a, b, 0) for a in (1, -1) for b in (1, -1)]}) == 8  # fmt: skip
    with pytest.raises(DataError, match="quarter turns"):
        turn(0.7, 0.7, -0.7, 0.7)


def test_a_file_cut_short_is_named_when_opened(tmp_path):
    path = make_video(tmp_path / "cut.mp4", muxer={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    with pytest.raises(DataError, match="expected 30 whole frames as announced"):
        open_video(path)


def test_damage_in_the_middle_is_an_error_at_its_frame_and_not_a_guessed_picture(tmp_path):
    path = tmp_path / "noisy.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(N):
            noise = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 3000] = rng.integers(0, 256, 3000, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    video = open_video(path)
    with pytest.raises(DataError, match=r"noisy\.mp4: frame 1\d is damaged"):
        list(video.images())
    assert video.image(3).shape == (64, 96, 3)


def test_fewer_frames_than_announced_are_an_error_at_the_frame(tmp_path):
    video = open_video(make_video(tmp_path / "short.mp4"))
    (tmp_path / "short.mp4").unlink()
    make_video(tmp_path / "short.mp4", frames=5)
    with pytest.raises(DataError, match="expected 30 frames as announced, frame 5 cannot be decoded"):
        list(video.images())


def test_more_frames_than_announced_are_an_error_at_the_end(tmp_path):
    video = open_video(make_video(tmp_path / "long.mp4", frames=5))
    (tmp_path / "long.mp4").unlink()
    make_video(tmp_path / "long.mp4")
    with pytest.raises(DataError, match="more came out"):
        list(video.images())


@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 40])
def test_a_file_that_is_no_video_is_named(content, tmp_path):
    (tmp_path / "notes.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.mp4: expected a readable video file"):
        open_video(tmp_path / "notes.mp4")


def test_a_file_with_sound_alone_is_named(tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(1600))
    with pytest.raises(DataError, match=r"sound\.wav: expected a video stream, the file holds none"):
        open_video(tmp_path / "sound.wav")


def test_a_missing_video_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.mp4: expected a video file, found no such file"):
        open_video(tmp_path / "absent.mp4")


def test_a_playlist_opens_no_address(tmp_path):
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError, match="expected"):
        open_video(tmp_path / "list.m3u8")


def test_an_unknown_decoder_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="did you mean 'decord'"):
        open_video(tmp_path, "decrod")  # type: ignore[arg-type]


def save(path: Path, value: int, size=(4, 6)) -> None:
    PIL.Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def test_a_folder_of_images_is_a_video_in_the_order_of_its_numbers(tmp_path):
    folder = tmp_path / "v1.5"
    folder.mkdir()
    for i in (10, 9, 1):
        save(folder / f"frame{i}.png", i)
    (folder / "notes.txt").write_text("not a frame")
    video = open_video(folder)
    assert (video.id, video.frames, video.size) == ("v1.5", ("frame1.png", "frame9.png", "frame10.png"), (4, 6))
    assert [int(image[0, 0, 0]) for image in video.images()] == [1, 9, 10]


def test_one_image_is_a_video_of_one_frame(tmp_path):
    save(tmp_path / "a.png", 7)
    video = open_video(tmp_path / "a.png")
    assert (video.id, len(video), int(video.image(0)[0, 0, 0])) == ("a", 1, 7)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match=r"expected images .* found none"):
        open_video(tmp_path)


def test_an_image_of_another_size_in_a_folder_is_named(tmp_path):
    save(tmp_path / "0.png", 0)
    save(tmp_path / "1.png", 0, size=(5, 6))
    with pytest.raises(DataError, match=r"frame 1\.png: expected an image of 6x4 pixels, got 6x5"):
        list(open_video(tmp_path).images())


def test_natural_order_compares_numbers_by_value_and_survives_mixed_names():
    assert sorted(["b", "10", "a10", "9", "a9"], key=natural_key) == ["9", "10", "a9", "a10", "b"]


def test_grey_palette_and_transparent_images_read_as_rgb(tmp_path):
    for mode in ("L", "P", "RGBA", "I;16"):
        PIL.Image.new(mode, (3, 2)).save(tmp_path / "a.png")
        image = read_image(tmp_path / "a.png")
        assert (image.shape, image.dtype) == ((2, 3, 3), np.uint8)
        assert image.flags.writeable


def test_missing_broken_and_cut_images_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: expected an image, found no such file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.png: expected a readable image"):
        read_image(tmp_path / "a.png")
    rng = np.random.default_rng(0)
    for name in ("b.png", "b.jpg"):
        PIL.Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:700])
        with pytest.raises(DataError, match="expected a readable image"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
def test_a_written_video_reads_back_nearly_the_same(size, tmp_path):
    frames = [picture(i, *size) for i in range(12)]
    assert write_video(tmp_path / "out.mp4", iter(frames), fps=12.5) == 12
    video = open_video(tmp_path / "out.mp4")
    assert (len(video), video.fps) == (12, 12.5)
    assert video.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for frame, back in zip(frames, video.images(), strict=True):
        assert number(back) == number(frame)
        assert np.abs(back[: size[0], : size[1]].astype(int) - frame).mean() < 6
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_video_without_frames_or_with_frames_of_two_sizes_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="expected at least one frame"):
        write_video(tmp_path / "out.mp4", [], fps=10)
    with pytest.raises(DataError, match=r"frame 1 has \(64, 98, 3\)"):
        write_video(tmp_path / "out.mp4", [picture(0), picture(1, 64, 98)], fps=10)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        write_video(tmp_path / "file" / "out.mp4", [picture(0)], fps=10)
    assert write_video(tmp_path / "new" / "out.mp4", [picture(0)], fps=10) == 1, "its folder is made"


def test_a_jump_starts_at_the_key_frame_of_its_group(tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", options=SHORT_GROUPS))
    assert info.times is not None
    assert len(info.times) == len(info.starts) == info.length == N
    assert sorted(set(info.starts)) == sorted(info.starts[i] for i in range(0, N, 8))
