"""Files and folders that are whole, as they were before, or not there."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ovsbench.benchmark.errors import DataError
from ovsbench.benchmark.storage import files


def test_a_file_appears_with_its_folder_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with files.whole_file(path) as beside:
        beside.write_bytes(b"12")
        assert not path.exists()
        assert beside.parent == path.parent, "a rename across disks is a copy, which can be cut off"
    assert path.read_bytes() == b"12"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_file_of_before_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), files.whole_file(path) as beside:
        beside.write_bytes(b"af")
        raise ZeroDivisionError
    with pytest.raises(DataError, match=r"a\.bin: cannot be written: .*space"), files.whole_file(path) as beside:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "run"
    with files.whole_folder(folder) as partial:
        (partial / "a").write_bytes(b"1")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_with_files_is_replaced_only_where_that_is_meant(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with files.whole_folder(folder) as partial:
        (partial / "a").write_bytes(b"1")
    with pytest.raises(DataError, match="run: expected a new folder, found something there"):
        files.whole_folder(folder).__enter__()
    with pytest.raises(ZeroDivisionError), files.whole_folder(folder, replace=True) as partial:
        (partial / "b").write_bytes(b"2")
        raise ZeroDivisionError
    assert [path.name for path in folder.iterdir()] == ["a"]
    with files.whole_folder(folder, replace=True) as partial:
        (partial / "b").write_bytes(b"2")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: expected a new folder"):
        files.whole_folder(tmp_path / "file").__enter__()


def test_the_hidden_folder_may_lie_elsewhere(tmp_path: Path) -> None:
    with files.whole_folder(tmp_path / "a" / "b" / "c", beside=tmp_path / ".adding") as partial:
        assert partial == tmp_path / ".adding"
        (partial / "x").write_bytes(b"1")
    assert (tmp_path / "a" / "b" / "c" / "x").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("what", ["whole_file", "whole_folder"])
def test_what_a_killed_process_left_is_in_nobodys_way(what: str, tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from ovsbench.benchmark.storage import files
with files.{what}(Path(sys.argv[1])) as partial:
    (partial if {what == "whole_file"} else partial / "stale").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1, "the hidden half"
    if what == "whole_file":
        files.write_bytes(path, b"whole")
        assert path.read_bytes() == b"whole"
    else:
        with files.whole_folder(path) as partial:
            (partial / "new").write_bytes(b"whole")
        assert [one.name for one in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
