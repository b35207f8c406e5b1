"""Every error and every finding has a next step in the one form, and every command in it is one."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from qdrant_dr import errors, hints
from qdrant_dr.errors import DRError
from qdrant_dr.report.kinds import KINDS
from tests.support.commands import parse

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for top in ("qdrant_dr", "tasks", "flows") for p in (ROOT / top).rglob("*.py"))


def leaves(kind: type[DRError] = DRError) -> Iterator[type[DRError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith(errors.__name__):
            yield from leaves(below)


TREE = sorted(leaves(), key=lambda kind: kind.code)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.code)
def test_every_error_says_what_is_next(kind: type[DRError]) -> None:
    """In one form; and a chapter of the troubleshooting knows its code."""
    error = kind("it happened")
    step = hints.step_of(error.hint)
    if kind is not errors.UsageError:
        assert step.kind == "run" or error.hint.startswith((hints.DECIDE, hints.BY_HAND))
    for command in step.commands:
        parse(command)
    assert error.hint.endswith(".")


def test_every_error_is_raised_somewhere() -> None:
    """Or what others are translated to; one that has others below it is their name."""
    tree = ROOT / "qdrant_dr" / "errors"
    users = (p for p in [*SOURCES, *(ROOT / "deployments").rglob("*.py")] if tree not in p.parents)
    used = {
        n.id if isinstance(n, ast.Name) else n.attr
        for path in users
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Name | ast.Attribute)
    }
    assert {k.__name__ for k in TREE if not k.__subclasses__()} - used == set()


def text_of(node: ast.AST) -> str | None:
    """A string of the source, `x` for what is only known when it is said."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "x" for part in node.values)
    return None


def wrong(commands: Iterable[str]) -> dict[str, str]:
    """Those that the command line does not take, and why."""
    found = {}
    for command in commands:
        try:
            parse(command)
        except (CycloptsError, KeyError, AssertionError, ValueError) as e:
            found[command] = f"{type(e).__name__}: {e}"
    return found


def nodes() -> Iterator[ast.AST]:
    for path in SOURCES:
        yield from ast.walk(ast.parse(path.read_text()))


def test_every_command_that_is_told_is_one() -> None:
    texts = [text for node in nodes() if (text := text_of(node)) is not None and "`" in text]
    told = {c for text in texts for c in hints.step_of(text).commands}
    assert len(told) > 30
    assert wrong(told) == {}


def made_by(call: ast.Call) -> str | None:
    """The command line that a call of `command(...)` makes."""
    if not (isinstance(call.func, ast.Name) and call.func.id == "command" and call.args):
        return None
    words = [text_of(a) or "x" for a in call.args if not isinstance(a, ast.Starred)]
    return None if not words or words[0] == "x" else shlex.join(["qdrant-dr", *words])


def test_every_command_that_is_made_is_one() -> None:
    calls = [
        n for p in SOURCES for n in ast.walk(ast.parse(p.read_text())) if isinstance(n, ast.Call)
    ]
    made = {c for call in calls if (c := made_by(call)) is not None}
    assert len(made) > 20
    for command in made:
        parse(command)


def test_every_code_has_its_line_in_the_troubleshooting() -> None:
    """Of an error it is the hint itself, so that the page says what is printed."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    lines = page.split("\n## Every code\n", 1)[1].splitlines()
    listed = {m[1] for line in lines if (m := re.match(r"- `([a-z-]+)`: .*\.$", line))}
    known = set(KINDS) | {kind.code for kind in TREE if kind is not DRError}
    assert listed == known, "docs/troubleshooting.md lists what is never said, or not what is"
    told = {f"- `{kind.code}`: {kind('x').hint}" for kind in TREE if kind is not DRError}
    assert told - set(lines) == set(), "errors that docs/troubleshooting.md tells otherwise"


def test_a_hint_is_read_as_it_is_written() -> None:
    run = hints.step_of("run `qdrant-dr replicate BACKUP` to heal the copy.")
    assert run == hints.Step("run", ("qdrant-dr replicate BACKUP",))
    bare = hints.step_of("curl -X DELETE http://a; curl -X DELETE http://b")
    assert bare.commands == ("curl -X DELETE http://a", "curl -X DELETE http://b")
    hand = hints.marked("mount it, then run `qdrant-dr check -r REPOSITORY`.")
    assert hints.step_of(hand) == hints.Step("by hand", ("qdrant-dr check -r REPOSITORY",))
    assert hints.marked(hand) == hand
    choice = "decide: which is true: `qdrant-dr show BACKUP`."
    assert hints.marked(choice) == choice
    assert hints.step_of(choice).kind == "decide"


def test_names_are_filled_in_and_quoted() -> None:
    hint = hints.filled(
        "give NAME, run `qdrant-dr verify BACKUP -r REPOSITORY`.", repository="a b", backup="x@1"
    )
    assert hint == "give NAME, run `qdrant-dr verify x@1 -r 'a b'`."
    assert (
        hints.filled("`qdrant-dr list COLLECTION`", collection="*") == "`qdrant-dr list COLLECTION`"
    )


def test_the_help_of_what_is_named_is_named() -> None:
    said = ["run `qdrant-dr repository show one`.", "qdrant-dr verify a@b", "decide: or not."]
    assert hints.helps(said) == ("qdrant-dr repository show --help", "qdrant-dr verify --help")
