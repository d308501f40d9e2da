"""The one reader: what a value may be, what is said of one that it may not be, and what a stranger's file may hold."""

from __future__ import annotations

import dataclasses
import enum
import json
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from ovsbench.benchmark.errors import DataError, MethodError
from ovsbench.benchmark.settings import MOST_ITEMS, MOST_NUMBER, MOST_TEXT, UNTRUSTED, Reader, shown


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    id: int
    size: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Outer:
    steps: int = 1
    rate: float = 0.5
    track: bool = True
    name: str = ""
    mode: Literal["fast", "exact", 3] = "fast"
    colour: Colour = Colour.RED
    folder: Path | None = None
    hold_out: int | tuple[str, ...] = ()
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rest: Any = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: expected at least 1, got {self.steps}")


def read(content: object, reader: Reader = Reader()) -> Outer:  # noqa: B008
    return reader.table(Outer, content, "[training]")


def test_every_kind_of_value_is_read_from_toml_and_json_alike() -> None:
    text = """
    steps = 4
    rate = 3
    track = false
    mode = 3
    colour = "blue"
    folder = "a/b"
    hold_out = ["cat", "dog"]
    inner = { id = 7, size = [2, 3] }
    parts = [{ id = 1 }, { id = 2 }]
    shares = { a = 0.5, b = 1 }
    rest = [1, { x = "y" }]
    """
    wanted = Outer(
        4, 3, False, "", 3, Colour.BLUE, Path("a/b"), ("cat", "dog"), Inner(7, (2, 3)), (Inner(1), Inner(2)),
        {"a": 0.5, "b": 1}, [1, {"x": "y"}],
    )  # fmt: skip
    tables = tomllib.loads(text)
    assert read(tables) == wanted
    assert read(json.loads(json.dumps(tables)), UNTRUSTED) == wanted
    assert read({"folder": None, "inner": None}) == read({}) == Outer()
    assert read({"hold_out": 5}).hold_out == 5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (3, "[training]: expected keys with values, got 3"),
        ({"stpes": 1}, "[training]: unknown key 'stpes'; did you mean 'steps'? Known: "),
        ({"steps": "a"}, "[training] steps: expected a whole number, got 'a'"),
        ({"steps": 1.0}, "[training] steps: expected a whole number, got 1.0"),
        ({"steps": True}, "[training] steps: expected a whole number, got true"),
        ({"steps": 0}, "[training]: steps: expected at least 1, got 0"),
        ({"rate": True}, "[training] rate: expected a number, got true"),
        ({"rate": float("nan")}, "[training] rate: expected a number, got nan"),
        ({"rate": 10**400}, "[training] rate: expected a number, got a number out of range"),
        ({"track": 1}, "[training] track: expected true or false, got 1"),
        ({"name": 3}, "[training] name: expected a text, got 3"),
        ({"name": None}, "[training] name: expected a text, got none"),
        ({"mode": "fats"}, "[training] mode: expected one of fast, exact, 3, got 'fats'; did you mean 'fast'?"),
        ({"mode": 3.0}, "[training] mode: expected one of fast, exact, 3, got 3.0"),
        ({"mode": ["fast"]}, "[training] mode: expected one of fast, exact, 3, got ['fast']"),
        ({"colour": "blu"}, "[training] colour: expected one of red, blue, got 'blu'; did you mean 'blue'?"),
        ({"folder": 3}, "[training] folder: expected a path, got 3"),
        ({"hold_out": "cat"}, "[training] hold_out: expected a whole number or [a text, ...], got 'cat'"),
        ({"hold_out": [1]}, "[training] hold_out: expected a whole number or [a text, ...], got [1]"),
        ({"inner": {}}, "[training] inner: id: expected a whole number, got none"),
        ({"inner": {"id": 1, "size": [1]}}, "inner: size: expected [a whole number, a whole number], got [1]"),
        ({"inner": {"id": 1, "size": [1, "x"]}}, "inner: size, item 1: expected a whole number, got 'x'"),
        ({"parts": [{"id": 1}, {"id": "x"}]}, "[training] parts, item 1: id: expected a whole number, got 'x'"),
        ({"shares": {"a": "b"}}, "[training] shares: a: expected a number, got 'b'"),
        ({"shares": []}, "[training] shares: expected keys with values, got []"),
    ],
)
def test_what_does_not_fit_is_one_sentence(content: object, sentence: str) -> None:
    with pytest.raises(MethodError) as caught:
        read(content, Reader(MethodError))
    assert sentence in str(caught.value)
    with pytest.raises(DataError) as caught_again:
        read(content, Reader(remedy="Write it again"))
    assert sentence in str(caught_again.value)
    assert str(caught_again.value).endswith((". Write it again", "? Write it again"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"name": "a\nb"}, "name: expected one line of printable text, got 'a\\nb'"),
        ({"name": "a\u202eb"}, "name: expected one line of printable text, got 'a\\u202eb'"),
        ({"name": "x" * (MOST_TEXT + 1)}, "name: expected one line of printable text, got 'xxx"),
        ({"folder": "a\0"}, "folder: expected a path, got 'a\\x00'"),
        ({"steps": MOST_NUMBER + 1}, "steps: expected a whole number, got a number out of range"),
        ({"steps": -MOST_NUMBER - 1}, "steps: expected a whole number, got a number out of range"),
        ({"rate": 1e300}, "rate: expected a number, got 1e+300"),
        ({"hold_out": ["x"] * (MOST_ITEMS + 1)}, "hold_out: expected a whole number or [one line of printable text"),
        ({"shares": {str(i): 1 for i in range(MOST_ITEMS + 1)}}, "shares: expected keys with values, got {"),
        ({"shares": {"a\nb": 1}}, "shares: expected one line of printable text"),
        ({"k" * 10**6: 1}, "unknown key 'kkk"),
    ],
)
def test_a_strangers_file_has_limits_and_a_short_message(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read(content, UNTRUSTED)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable(), "nothing that a terminal would obey"


def test_a_limit_itself_is_allowed() -> None:
    content = {"name": "x" * MOST_TEXT, "steps": MOST_NUMBER, "rate": float(MOST_NUMBER), "hold_out": ["x"] * 1000}
    assert read(content, UNTRUSTED).steps == MOST_NUMBER


def test_own_files_may_hold_long_texts_of_many_lines() -> None:
    assert read({"name": "a\nb" * MOST_TEXT, "steps": 2**60}).steps == 2**60


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "-3", -3),
        (float, "1e-3", 0.001),
        (bool, "Yes", True),
        (bool, "0", False),
        (str, "none", "none"),
        (float | None, "None", None),
        (Path, "a/b", Path("a/b")),
        (Literal["a", 3], "3", 3),
        (Colour, "blue", Colour.BLUE),
        (tuple[int, int], "96,128", (96, 128)),
        (tuple[str, ...], "a,b,c", ("a", "b", "c")),
        (tuple[str, ...], "", ()),
        (int | tuple[str, ...], "7", 7),
        (int | tuple[str, ...], "cat,dog", ("cat", "dog")),
        (Any, "3", "3"),
        (Mapping[str, int], "3", "3"),  # a type that text cannot stand for is left to the one who asked for it
    ],
)
def test_text_of_the_command_line_stands_for_a_value(hint: Any, text: str, value: object) -> None:
    got = Reader(is_text=True).value(hint, text, "option x of method m")
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    ("hint", "text", "sentence"),
    [
        (int, "1.5", "option x of method m: expected a whole number, got '1.5'"),
        (float | None, "fast", "option x of method m: expected a number, got 'fast'"),
        (bool, "maybe", "option x of method m: expected true or false, got 'maybe'"),
        (tuple[int, int], "96", "option x of method m: expected [a whole number, a whole number], got ['96']"),
    ],
)
def test_text_that_stands_for_no_value_is_one_sentence(hint: Any, text: str, sentence: str) -> None:
    with pytest.raises(MethodError) as caught:
        Reader(MethodError, is_text=True).value(hint, text, "option x of method m")
    assert str(caught.value) == sentence


def test_any_json_gives_a_value_of_the_declared_types_or_one_sentence() -> None:
    """A seeded fuzz: odd values at every key; what is accepted has the types that the dataclass declares."""
    draw = random.Random(0)
    odd = (None, True, False, 0, 1, -1, 2**53 + 1, 0.5, float("inf"), "", "fast", "red", "a\tb", [], [1], ["a"], [1, 2],
           {}, {"id": 1}, {"id": 1, "size": [1, 2]}, {"a": 1}, [{"id": 1}], [[1]])  # fmt: skip
    names = [field.name for field in dataclasses.fields(Outer)] + ["strange"]
    accepted = 0
    for _ in range(3000):
        content = {draw.choice(names): draw.choice(odd) for _ in range(draw.randint(1, 3))}
        try:
            got = read(content, UNTRUSTED)
        except DataError:
            continue
        accepted += 1
        assert type(got.steps) is int
        assert type(got.rate) in (int, float)
        assert type(got.track) is bool
        assert type(got.colour) is Colour
        assert got.mode in ("fast", "exact", 3)
        assert got.folder is None or isinstance(got.folder, Path)
        assert all(type(part) is Inner and type(part.id) is int for part in got.parts)
        assert got.inner is None or list(map(type, got.inner.size)) == [int, int]
        assert type(got.hold_out) is int or all(type(word) is str for word in got.hold_out)
    assert accepted > 100


def test_a_value_is_shown_on_one_short_line() -> None:
    assert shown({"a": [True, None]}) == "{'a': [true, none]}"
    assert len(shown(["x" * 1000] * 1000)) < 500
    assert shown([[[[1]]]]) == "[[[...]]]"
