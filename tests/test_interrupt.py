from __future__ import annotations

import subprocess
import sys

CODE = "import sys; sys.path.insert(0, sys.argv[1]); from ovsbench.cli import main; main()"


def test_ctrl_c_during_the_imports_is_one_sentence(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted: nothing was begun; run the same command again\n"


def test_another_error_during_the_imports_keeps_its_traceback(tmp_path):
    (tmp_path / "typer.py").write_text("raise RuntimeError('odd')")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
