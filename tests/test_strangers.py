"""What strangers' files, names, terminals and file systems can do to us, each answered at one place."""

from __future__ import annotations

import ast
import contextlib
import errno
import fcntl
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from source_tree import source_files

from ovsbench.benchmark.errors import BusyError, DataError, MethodError
from ovsbench.benchmark.formats.faults import MOST, Faults, TooManyFaultsError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.visible_text import visible
from ovsbench.cli import console
from ovsbench.data_prep.burst import build_burst
from ovsbench.data_prep.official import official_classes
from ovsbench.data_prep.ytvis import build_own_classes

CODE = "import sys; sys.path.insert(0, sys.argv[1]); from ovsbench.cli import main; main()"


def opens_image(tree: ast.AST) -> bool:
    """Whether a module calls PIL.Image.open, by whatever name it imports the module or the function."""
    images = {"Image"}  # last names that stand for Pillow's module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("PIL", "PIL.Image"):
            for alias in node.names:
                if (node.module, alias.name) == ("PIL", "Image"):
                    images.add(alias.asname or alias.name)
                if (node.module, alias.name) == ("PIL.Image", "open"):
                    return True
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "open"
        and (
            (isinstance(node.value, ast.Name) and node.value.id in images)
            or (isinstance(node.value, ast.Attribute) and node.value.attr == "Image")
        )
        for node in ast.walk(tree)
    )


def test_images_are_opened_at_one_place_which_names_their_kinds():
    found = source_files()
    assert len(found) > 200
    opening = {name for name, path in found.items() if opens_image(ast.parse(path.read_bytes()))}
    assert opening == {"ovsbench.benchmark.storage.image_files"}


@pytest.mark.parametrize(
    "text",
    [
        "import PIL.Image\nPIL.Image.open(p)",
        "from PIL import Image as Pillow\nPillow.open(p)",
        "from PIL import Image\nread = Image.open",
        "from PIL.Image import open as o",
    ],
)
def test_the_walk_sees_every_way_to_open_an_image(text):
    assert opens_image(ast.parse(text))
    assert not opens_image(ast.parse("from pathlib import Path\nPath('a').open()"))


# terminals


def test_only_what_a_terminal_would_obey_is_written_out():
    plain = "Straße 犬 \N{FAMILY}\u200d\N{BOY} می\u200cخواهم\ttab\nline"
    assert visible(plain) == plain
    shown = visible("a\x1b]0;x\x07\x9b31m\u202e\u2066\u200f\u2028\udcff\x00\r")
    assert shown == r"a\u001b]0;x\u0007\u009b31m\u202e\u2066\u200f\u2028\udcff\u0000\u000d".replace(r"\u000d", r"\r")
    assert json.loads(visible(json.dumps({"a": "\u202eb"}, ensure_ascii=False))) == {"a": "\u202eb"}


@pytest.mark.parametrize("arguments", [["list", "methods"], ["list", "methods", "--json"], ["--help"]])
def test_a_full_output_is_one_sentence(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "ovsbench", *arguments], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: the standard output cannot be written: No space left on device. Make room")
    assert done.stderr.count("\n") == 1


def test_a_closed_output_is_one_sentence():
    command = f"exec {sys.executable} -m ovsbench list methods >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the standard output is closed")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("line_buffering", [False, True])
def test_a_line_comes_in_one_piece(line_buffering, monkeypatch):
    """Whoever reads the first line of a server and closes the pipe must not end the server with the rest of it."""
    pieces = []

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, content) -> int:
            pieces.append(bytes(content))
            return len(content)

    stream = io.TextIOWrapper(io.BufferedWriter(Pipe()), line_buffering=line_buffering, write_through=line_buffering)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    console.say_served("http://127.0.0.1:1/")
    console.complain("a\nb")
    assert pieces == [b"Result: http://127.0.0.1:1/\nStop it with Ctrl-C\n", b"a\nb\n"]


def test_ctrl_c_during_an_import_that_swallows_it_ends_the_process_all_the_same(tmp_path):
    kill = "os.kill(os.getpid(), signal.SIGINT)"
    (tmp_path / "typer.py").write_text(f"import os, signal\ntry:\n    {kill}\n    print(1)\nexcept BaseException: 0")
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False,
                          timeout=60)  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted: nothing was begun; run the same command again\n"


# file systems


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_claimed_by_a_file(tmp_path, monkeypatch, number):
    def refuse(handle: int, how: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with files.folder_lock(tmp_path), pytest.raises(BusyError, match=str(os.getpid())), files.folder_lock(tmp_path):
        pass


# speed


def test_after_a_thousand_faults_nothing_more_is_read():
    faults, read = Faults(), 0
    with (
        pytest.raises(TooManyFaultsError, match=f"more than {MOST} faults.*was not read\n  row 0"),
        faults.collecting(),
    ):
        for read in range(10 * MOST):
            with faults.collecting():
                raise DataError(f"row {read}")
    assert read == MOST


def faulty_labels(folder: Path, rows: int) -> Path:
    content = {
        "videos": [{"id": 1, "width": 8, "height": 6, "file_names": ["v/0.jpg"]}],
        "categories": [{"id": 4, "name": "dog"}],
        "annotations": [{"video_id": 77, "category_id": 4}] * rows,
    }
    path = folder / f"{rows}.json"
    path.write_text(json.dumps(content))
    return path


def burst(folder: Path, tracks: int) -> Path:
    """A sequence of one frame whose tracks are all masks of another size."""
    category = next(iter(official_classes("burst")))
    masks = {str(number): {"rle": "P`0"} for number in range(tracks)}
    sequence = {
        "id": 1, "dataset": "A", "seq_name": "v", "height": 48, "width": 64, "annotated_image_paths": ["0.jpg"],
        "segmentations": [masks], "track_category_ids": dict.fromkeys(masks, category.id),
    }  # fmt: skip
    (folder / "val").mkdir(parents=True)
    content = {"sequences": [sequence], "categories": [{"id": category.id, "name": category.name}]}
    (folder / "val/all_classes.json").write_text(json.dumps(content))
    return folder


def seconds(work: object) -> float:
    begin = time.process_time()
    with contextlib.suppress(DataError):
        work()  # type: ignore[operator]
    return time.process_time() - begin


def test_a_hundred_thousand_faulty_rows_are_refused_at_once(tmp_path):
    path = faulty_labels(tmp_path, 130_000)
    assert seconds(lambda: build_own_classes(path, tmp_path / "data")) < 5
    with pytest.raises(DataError, match="expected the id of a video of the list `videos`, got 77"):
        build_own_classes(path, tmp_path / "data")


def test_tracks_of_a_sequence_take_time_in_proportion_to_their_number(tmp_path):
    small, large = burst(tmp_path / "a", 100), burst(tmp_path / "b", 900)
    assert seconds(lambda: build_burst(large, tmp_path / "o", split=None)) < 1 + 27 * seconds(
        lambda: build_burst(small, tmp_path / "p", split=None)
    )


# checkpoints


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", 10**7), ("queries", 10**8), ("feed_forward", 10**9), ("text_width", 10**9), ("trunk", "ViT-bigG-14")],
)
def test_a_checkpoint_that_announces_a_giant_is_refused_before_memory_is_taken(tmp_path, key, value):
    pytest.importorskip("torch")
    from ovsbench.gkc_video import checkpoint
    from ovsbench.gkc_video.model.load import load_gkc

    header, tensors = checkpoint.read(checkpoint.resolve("gkc-world"), "gkc")
    config = {**header.config, "model": {**header.config["model"], key: value}}
    checkpoint.write(tmp_path / "a.safetensors", replace(header, config=config), tensors)
    with pytest.raises(
        MethodError,
        match=r"a\.safetensors: (its header describes a model of at least|\[model\] \w+: expected a number from 1)",
    ):
        load_gkc(tmp_path / "a.safetensors", "cpu")
