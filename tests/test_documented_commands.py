"""Every command that README and documentation show: the verb is there, and so is each of its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from ovsbench.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "gkc_video/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands_of(text: str) -> Iterator[str]:
    """Lines of code blocks and pieces of code in a sentence that begin with the command's name."""
    for block in re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.S):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield from (part.strip() for part in re.split(r"&&|;|\$\(", line) if part.strip().startswith("ovsbench "))
    without_blocks = re.sub(r"```.*?```", "", text, flags=re.S)
    yield from (code for code in re.findall(r"`([^`\n]+)`", without_blocks) if code.startswith("ovsbench "))


def parts_of(command: str) -> list[str]:
    words = shlex.split(command.partition(" #")[0].replace("\\|", "|"), comments=False)
    end = next((words.index(mark) for mark in ("|", "--") if mark in words), None)  # behind -- is another command
    return words[1:end]


ALL = [(page.name, command) for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))]


def test_the_pages_show_commands():
    assert len(ALL) > 100


@pytest.mark.parametrize(("page", "command"), ALL)
def test_a_documented_command_has_its_verb_and_its_options(page, command):
    words, verb = parts_of(command), typer.main.get_command(app)
    while hasattr(verb, "commands") and words and not words[0].startswith("-"):
        assert words[0] in verb.commands or not words[0].islower(), f"{page}: {command}"
        if words[0] not in verb.commands:
            return
        verb = verb.commands[words.pop(0)]
    known = {name for parameter in verb.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
    unknown = [name for name in given if name not in known and name not in ("-h", "--help") and name[:2] not in known]
    assert not unknown, f"{page}: {command}"


@pytest.mark.parametrize("command", ["ovsbench showw RUN", "ovsbench show RUN --srt IoU", "ovsbench data bild vspw"])
def test_a_wrong_one_would_be_noticed(command):
    with pytest.raises(AssertionError):
        test_a_documented_command_has_its_verb_and_its_options("page", command)
