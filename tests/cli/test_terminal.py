"""What a person sees: every command on a terminal of 60 to 200 columns, and its help."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from qdrant_dr.cli import main
from qdrant_dr.cli.commands import EVERY_COMMAND, GROUPS
from tests.support.servers import sandbox_server
from tests.support.world import seed

EXAMPLES = {tuple(n.split()): e for n, (_, _, *e) in EVERY_COMMAND.items()}
EVERY = list(EXAMPLES)
LISTS = (
    "list", "status", "show movies@latest", "show movies@latest --proofs", "repository list",
    "repository show local", "watch", "hold", "acknowledge", "repository create", "expire",
    "backup --dry-run",
)  # fmt: skip

RUNS = ("verify", "drill movies", "check")


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A backup of two collections in two repositories, one name wide."""
    folder = tmp_path_factory.mktemp("terminal")
    with sandbox_server(folder / "source") as source:
        for name in ("movies", "電影資料庫" * 6):
            seed(source.url, name, points=60)
        path = folder / "qdrant-dr.yaml"
        assert main(["-c", str(path), "init", "--url", source.url]) == 0
        second = f"  - name: second\n    url: {folder}/second\n    domain: elsewhere\n\ncopies:"
        path.write_text(path.read_text().replace("./", f"{folder}/").replace("copies:", second, 1))
        assert main(["-c", str(path), "repository", "create", "--save"]) == 0
        assert main(["-c", str(path), "backup"]) == 0
        assert main(["-c", str(path), "hold", "movies@latest", "--reason", "why " * 40]) == 0
        yield path


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_every_line_fits_the_terminal(
    backed_up: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (*LISTS, *RUNS) if width == 80 else LISTS:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        main(["-c", str(backed_up), *shlex.split(command)])
        said = capsys.readouterr().out
        told = said.split("Restore by hand:")[0].splitlines()
        assert [li for li in told if cell_len(li) > width] == [], command
        if command in ("list", "status", "verify"):
            assert "movies" in said


def test_on_a_terminal_nothing_is_said_twice(
    backed_up: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for command in ("verify movies@latest", "check"):
        capsys.readouterr()
        main(["-c", str(backed_up), *shlex.split(command)])
        moving = capsys.readouterr().err
        assert "\x1b[2K" in moving  # lines of running units, each wiped
        assert ": ok, " not in re.sub(r"check: ok, \d+ checks", "", moving)


def test_a_repository_is_shown_for_people(
    backed_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-c", str(backed_up), "repository", "show", "local"]) == 0
    facts, held = capsys.readouterr().out.split("\n\n")
    assert re.search(
        r"^created +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ by qdrant-dr ", facts, re.MULTILINE
    )
    assert re.search(r"^free +[\d.]+ [KMGT]iB$", facts, re.MULTILINE)
    assert "None" not in facts
    assert "_" not in facts.replace(str(backed_up.parent), "")
    head, *rows = held.splitlines()
    assert head.split() == ["FOLDER", "OBJECTS", "SIZE"]
    assert [r.split()[0] for r in rows] == ["backups", "proofs", "runs"]
    assert all(re.search(r"[\d.]+ ([KMGT]i)?B$", r) for r in rows)


@pytest.mark.parametrize("command", [(), *((name,) for name in GROUPS), *EVERY], ids=" ".join)
def test_no_default_says_nothing(command: tuple[str, ...], qdr: Any) -> None:
    said = " ".join(qdr(*command, "--help").out.replace("│", " ").split())
    assert not re.search(r"\[default: (\(\)|\[\]|False|None|\"\"|'')\]", said)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_examples_can_be_copied_whole(
    command: tuple[str, ...], width: int, qdr: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = qdr(*command, "--help").out.split("Example:\n", 1)[1].replace(" \\\n", "")
    commands = [shlex.split(line) for line in shown.splitlines() if line.strip()]
    assert commands == [shlex.split(example) for example in EXAMPLES[command]]
    assert "..." not in shown
    assert "$ " not in shown
