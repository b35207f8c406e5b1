"""The README: its commands parse and run as printed, and what it points to is there."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from qdrant_dr.cli import main
from qdrant_dr.cli.app import build
from tests.support.servers import sandbox_server
from tests.support.world import seed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(README)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(block: str) -> list[str]:
    """The commands of a block, without their remarks."""
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


SHELL = [commands(body) for kind, body in BLOCKS if kind == "sh"]
OURS = [line for block in SHELL for line in block if line.startswith("qdrant-dr ")]


def printed_by(line: str) -> list[str]:
    """What the README shows below a block that ends with this command."""
    for (kind, body), (below, text) in pairwise(BLOCKS):
        if kind == "sh" and below == "text" and commands(body)[-1] == line:
            return text.splitlines()
    return []


def test_the_readme_has_commands_to_run() -> None:
    assert len(SHELL) >= 4
    assert len(OURS) >= 10


def test_blocks_of_commands_can_be_copied_whole() -> None:
    for page in PAGES:
        for kind, body in FENCE.findall(page.read_text()):
            assert kind != "console", page.name
            if kind in ("sh", "bash"):
                lines = body.splitlines()
                assert not [li for li in lines if li.startswith("$ ") or li.strip() == "..."], page


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
        for line in [*SHELL[0], *SHELL[1]]:
            words = shlex.split(line.replace("http://127.0.0.1:6333", source.url))
            assert main(words[1:]) == 0, line
            out, printed = capsys.readouterr().out.splitlines(), printed_by(line)
            assert [shape(p) for p in printed] == ([shape(o) for o in out] if printed else [])


def shape(line: str) -> list[str]:
    """Words, without figures and ids: rows and columns as they are."""
    return re.sub(r"\b\d{8}T\d{6}Z-\w{6}|\d[\d.]*( [KM]iB)?", "N", line).split()


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "up", "down", "install"} <= named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_a_page_points_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", [p.name for p in sorted((ROOT / "docs" / "images").glob("*"))])
def test_every_picture_is_shown(name: str) -> None:
    assert any(f"images/{name}" in page.read_text() for page in PAGES)
