"""Pages of the documentation site that are made from the code, and links that only hold in the repository."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {"contributing.md": "CONTRIBUTING.md", "gkc.md": "gkc_video/README.md"}
"""Pages of the site whose text lies outside of docs/."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the made pages."""
    made = {
        "index.md": start_page(),
        "reference/commands.md": "\n".join(commands()),
        "reference/values.md": "\n".join(values()),
        "reference/definitions.md": "\n".join(definitions()),
        **{page: (ROOT / path).read_text(encoding="utf-8") for page, path in ELSEWHERE.items()},
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links into the repository into links between pages; what is no page becomes plain text."""
    pages = {path: name for name, path in ELSEWHERE.items()}

    def moved(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"]
        if target.startswith(("http", "#")):
            return match[0]
        in_repository = _from_root(target, page.file.src_uri)
        target_page = pages.get(in_repository) or in_repository.removeprefix("docs/")
        if files.get_file_from_path(target_page) is None:
            return text
        return f"[{text}]({'../' * page.file.src_uri.count('/')}{target_page})"

    return re.sub(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)", moved, markdown)


def _from_root(target: str, page: str) -> str:
    """The path in the repository that a link of a page means."""
    at = {**ELSEWHERE, "index.md": "README.md"}.get(page, f"docs/{page}")
    return (
        str((ROOT / at).parent.joinpath(target).resolve().relative_to(ROOT))
        if ".." in target
        else ((Path(at).parent / target).as_posix())
    )


def start_page() -> str:
    """The README, whose pictures lie beside the pages here."""
    return re.sub(r"\]\(docs/(\w+\.jpg)\)", r"](\1)", (ROOT / "README.md").read_text(encoding="utf-8"))


def commands() -> Iterator[str]:
    """Every verb with its help, options and examples."""
    import typer.main

    from ovsbench.cli import app

    yield "# Commands\n\nEvery verb explains itself with `-h`; this page is made from the same text.\n"
    yield from _group(typer.main.get_command(app), "ovsbench")


def _group(group: Any, name: str) -> Iterator[str]:
    for verb, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _group(command, f"{name} {verb}")
        elif not command.hidden:
            yield from _command(command, f"{name} {verb}")


def _command(command: Any, name: str) -> Iterator[str]:
    yield f"## {name}\n"
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    yield _escaped(text) + "\n"
    shown = [line for line in examples.splitlines() if line.strip() and "[bold]" not in line and "\b" not in line]
    if shown:
        yield "```\n" + inspect.cleandoc("\n" + "\n".join(shown)) + "\n```\n"
    yield "| option | |\n| --- | --- |"
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        names = (
            ", ".join(f"`{one}`" for one in parameter.opts)
            if parameter.param_type_name == "option"
            else (f"`{parameter.metavar or parameter.name.upper()}`")
        )
        default = parameter.default
        given = (
            f" Default: `{default}`." if isinstance(default, (int, float, str)) and default not in ("", False) else ""
        )
        yield f"| {names} | {_escaped(getattr(parameter, 'help', None) or '')}{given} |"
    yield ""


def _escaped(text: str) -> str:
    return (
        text.replace("|", "\\|").replace("<", "&lt;").replace("[bold]", "").replace("[/bold]", "").replace("[", "\\[")
    )


def values() -> Iterator[str]:
    """Every value of every metric, as the metrics say it of themselves."""
    from ovsbench.benchmark.metrics import described

    yield "# Values by name\n\n`ovsbench show --all` prints them; the table is what each metric says of itself.\n"
    yield "| value | metric | tasks | meaning |\n| --- | --- | --- | --- |"
    for name, one in described().items():
        yield f"| `{name}` | {one.metric.name} | {', '.join(one.metric.tasks)} | {_escaped(one.value.meaning)} |"


def definitions() -> Iterator[str]:
    """The formulas of every metric, its rule for void, and where they come from: the text that its file opens with."""
    from ovsbench.benchmark.metrics import described

    yield "# Definitions\n\nWhat each metric counts, by which formula and rule: the text that its file opens with."
    named: dict[str, set[str]] = {}
    for one in described().values():
        named.setdefault(type(one.metric).__module__, set()).add(one.metric.name)
    for module, names in named.items():
        title, _, text = inspect.cleandoc(sys.modules[module].__doc__ or "").partition("\n")
        yield f"\n## {', '.join(sorted(names))}\n\n**{_escaped(title)}**\n"
        yield from (line if line.startswith("    ") else _plain(line) for line in text.splitlines())


def _plain(line: str) -> str:
    """A line of prose, no mark of which means anything to Markdown."""
    return re.sub(r"([*<\[#])", r"\\\1", line)
