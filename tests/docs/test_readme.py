"""The README: its commands parse and run as printed, and what it points to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from qdrant_dr.cli import main
from qdrant_dr.cli.app import build
from tests.support.servers import sandbox_server
from tests.support.world import seed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = [body for kind, body in FENCE.findall(README) if kind == "console"]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def said(block: str) -> list[tuple[str, list[str]]]:
    """Each command behind a prompt, with what is printed below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:].split("  #")[0].strip(), []))
        else:
            found[-1][1].append(line)
    return found


OURS = [
    line.removeprefix("make install && export PATH=$PWD/.venv/bin:$PATH ")
    for block in CONSOLE
    for line, _ in said(block)
    if line.startswith("qdrant-dr ")
]


def test_the_readme_has_commands_to_run() -> None:
    assert len(CONSOLE) == 3
    assert len(OURS) >= 10


@pytest.mark.parametrize("line", OURS)
def test_every_command_parses(line: str) -> None:
    tokens = shlex.split(line)[1:]
    command, bound, extra = build().parse_args(tokens, exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound is not None
    assert set(extra) <= {"session"}


def test_the_first_commands_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with sandbox_server(tmp_path / "source") as source:
        seed(source.url, "movies", points=250)
        for line, printed in said(CONSOLE[0]):
            words = shlex.split(line.replace("http://127.0.0.1:6333", source.url))
            assert main(words[1:]) == 0, line
            out = capsys.readouterr().out.splitlines()
            assert [shape(p) for p in printed] == ([shape(o) for o in out] if printed else [])


def shape(line: str) -> list[str]:
    """Words, without figures and ids: rows and columns as they are."""
    return re.sub(r"\b\d{8}T\d{6}Z-\w{6}|\d[\d.]*( [KM]iB)?", "N", line).split()


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|\$ )make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "up", "down", "install"} <= named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", [p.name for p in sorted((ROOT / "docs" / "images").glob("*"))])
def test_every_picture_is_shown(name: str) -> None:
    assert any(f"images/{name}" in page.read_text() for page in PAGES)
