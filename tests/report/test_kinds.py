"""Every finding that is raised has its row in the table of kinds, and every row is true."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr import hints
from qdrant_dr.report import finding
from qdrant_dr.report.kinds import KINDS, RECORDS, Kind
from tests.support.commands import parse

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for top in ("qdrant_dr", "tasks", "flows") for p in (ROOT / top).rglob("*.py"))
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()


def raised() -> Iterator[tuple[str, ast.Call]]:
    """The code of every finding that is made anywhere in the product, and the call."""
    for path in SOURCES:
        text = path.read_text()
        if "Problem(" not in text:
            continue
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        module = importlib.import_module(name.removesuffix(".__init__"))
        if getattr(module, "Problem", None) is not finding.Problem:
            continue  # of a configuration file
        for call in ast.walk(ast.parse(text)):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "Problem":
                continue
            if not call.args:
                continue  # one that is read from a record
            code = call.args[1]
            yield (ast.literal_eval(code) if isinstance(code, ast.Constant) else
                   getattr(module, ast.unparse(code))), call  # fmt: skip


RAISED = list(raised())


def strings(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value}


def severities(node: ast.AST) -> set[str]:
    """What an argument may come to: one word, or those that a condition chooses from."""
    if isinstance(node, ast.IfExp):
        return severities(node.body) | severities(node.orelse)
    return strings(node)


def functions() -> dict[str, list[ast.FunctionDef]]:
    """By name, those that findings take their next command from."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for path in SOURCES:
        if "report" in path.parts or path.stem in ("healing_steps", "snapshots"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    found.setdefault(node.name, []).append(node)
    return found


FUNCTIONS = functions()


def verbs(node: ast.AST, seen: frozenset[str] = frozenset()) -> set[str]:
    """The commands that an expression may tell, as far as the source says: its own `command(...)`,
    and those of the functions that it calls."""
    found: set[str] = set()
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        name = getattr(call.func, "id", "")
        if name == "command" and isinstance(call.args[0], ast.Constant):
            found.add(str(call.args[0].value))
        elif name not in seen and (name.startswith("_") or name.endswith(("step", "heal"))):
            for function in FUNCTIONS.get(name, ()):
                found |= verbs(function, seen | {name})
    return found


def told_by(kind: Kind) -> set[str]:
    return {c.split()[1] for form in kind.next for c in hints.step_of(form).commands}


def test_what_is_raised_is_what_is_listed() -> None:
    assert len(RAISED) > 50
    assert {code for code, _ in RAISED} == set(KINDS)


@pytest.mark.parametrize("code", sorted(KINDS))
def test_a_kind_is_as_bad_as_its_row_says(code: str) -> None:
    worst_first = [s for s in finding.RANK if s in KINDS[code].severities]
    assert list(KINDS[code].severities) == worst_first
    assert {s for c, call in RAISED if c == code for s in severities(call.args[0])} == set(
        worst_first
    )


@pytest.mark.parametrize("code", sorted(KINDS))
def test_the_next_commands_of_a_kind_are_commands_and_those_of_its_findings(code: str) -> None:
    kind = KINDS[code]
    for form in kind.next:
        step = hints.step_of(form)
        assert step.kind == "run" or form.startswith((hints.DECIDE, hints.BY_HAND)), form
        assert step.commands, form
        for command in step.commands:
            parse(command)
    for _, call in (r for r in RAISED if r[0] == code):
        assert verbs(call.args[6]) <= told_by(kind), ast.unparse(call.args[6])


def slug(heading: str) -> str:
    """The anchor that a heading of Markdown has."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("code", sorted(KINDS))
def test_a_kind_has_its_chapter_and_its_line(code: str) -> None:
    """Where an entry has the code in its heading, that is the chapter it stands in."""
    chapters = {slug(m[1]): m[2] for m in re.finditer(r"\n## (.+)\n((?:.|\n)*?)(?=\n## |\Z)", PAGE)}
    assert KINDS[code].chapter in chapters
    assert re.search(rf"^- `{code}`: .*\.$", chapters["every-code"], re.MULTILINE)
    entries = {name for name, text in chapters.items()
               if re.search(rf"^### .*`{code}`", text, re.MULTILINE)}  # fmt: skip
    assert entries <= {KINDS[code].chapter}


def test_what_hides_a_kind_is_known() -> None:
    words = {RECORDS, "cluster", "a run's record", "a backup's record"}
    for code, kind in KINDS.items():
        assert set(kind.hidden_by) <= words | set(KINDS) - {code}
        assert kind.seen_by != "records" or RECORDS in kind.hidden_by, code


def test_the_scan_reads_all_of_the_product() -> None:
    """Whoever names the class under another name would hide from it."""
    for path in SOURCES:
        text = path.read_text()
        assert "import Problem as" not in text, path
        assert "report.finding import" not in text or "finding.Problem" not in text, path
    assert "qdrant_dr.report.watch.job" in sys.modules
