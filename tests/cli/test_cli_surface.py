"""Every command has a help with an example, starts quickly, and knows nothing of Prefect."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cli.commands import COMMANDS, EVERY_COMMAND, GROUPS

ROOT = Path(__file__).parents[2]
EVERY = [tuple(name.split()) for name in EVERY_COMMAND]
HEAVY = ("pandas", "pyarrow", "httpx", "fsspec", "pydantic", "qdrant_client", "prefect", "numpy")


@pytest.mark.parametrize("command", [(), *((name,) for name in GROUPS), *EVERY], ids=" ".join)
def test_help_has_an_example_and_the_global_options(command: tuple[str, ...], qdr: Any) -> None:
    said = qdr(*command, "--help")
    assert said.code == 0
    assert "Example:\n  qdrant-dr " + " ".join(command) in said.out
    for option in ("--config", "--json", "--quiet", "--verbose"):
        assert option in said.out


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_option_is_explained(command: tuple[str, ...], qdr: Any) -> None:
    lines = qdr(*command, "--help").out.splitlines()
    for line in lines:
        if match := re.match(r"^│ (--[a-z-]+)( -[a-z])?( [A-Z]+)?\s*(.*)│$", line):
            explained = match[4].strip() or lines[lines.index(line) + 1].strip("│ ")
            assert explained, line


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_is_documented(command: tuple[str, ...], qdr: Any) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    name = " ".join(command)
    assert f"## {name}\n" in page
    section = page.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
    own = qdr(*command, "--help").out.split("╭─ Global options")[0]
    for option in re.findall(r"^│ \*?\s*(?:[A-Z-]+ )?(--[a-z-]+)", own, re.MULTILINE):
        assert f"`{option}" in section, f"{name} {option} is not documented"


def test_the_examples_of_the_help_can_be_parsed(qdr: Any) -> None:
    from qdrant_dr.cli.app import build

    app = build()
    for _, _, *examples in EVERY_COMMAND.values():
        for example in examples:
            words = shlex.split(example.split(" > ")[0])[1:]
            words = [w for w in words if w != "--json"]
            command, _, _ = app.parse_args(words, exit_on_error=False, print_error=False)
            assert callable(command)


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys, time; t = time.process_time(); from qdrant_dr.cli import main; "
        "main(['--help']); "
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]; "
        "print(time.process_time() - t, heavy, file=sys.stderr)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                       timeout=60, check=True)
        for _ in range(3)
    ]  # fmt: skip
    assert all(r.stderr.strip().endswith("[]") for r in runs), runs[0].stderr
    assert min(float(r.stderr.split()[0]) for r in runs) < 0.5


# each command, far enough into it that all it needs is imported, and how it ends
POISONED = [
    (["init", "--url", "http://127.0.0.1:1"], 0),
    (["schema", "config"], 0),
    (["schema", "manifest"], 0),
    (["schema", "run"], 0),
    (["schema", "frames"], 0),
    (["completion", "bash"], 0),
    (["repository", "create", "--save"], 0),
    (["repository", "list"], 0),
    (["repository", "show", "local"], 0),
    (["repository", "adopt", "local"], 0),
    (["key", "list", "local"], 2),
    (["signing", "trust", "nobody", "--as", "ana", "--file", "trusted"], 1),
    (["evidence", "verify"], 1),  # there is no ledger yet
    (["check"], 5),
    (["status"], 1),
    (["backup"], 5),
    (["replicate"], 1),
    (["verify"], 1),
    (["drill"], 4),
    (["sign", "20260101T000000Z-aaaaaa"], 2),
    (["expire"], 4),
    (["hold"], 0),
    (["acknowledge"], 0),
    (["acknowledge", "run-bad", "--reason", "known"], 2),
    (["restore", "movies@latest", "--to", "http://127.0.0.1:1"], 5),
    (["startup-archive", "--out", "full.snapshot"], 4),
    (["list"], 0),
    (["show", "movies@latest"], 1),
    (["get", "movies@latest", "--out", "movies.snapshot"], 1),
    (["diff", "movies@latest", "live"], 1),
    (["find", "movies", "--id", "1"], 1),
    (["export", "movies@latest", "--out", "movies"], 1),
    (["report", "--format", "csv"], 1),  # written, and nothing is protected
    (["watch"], 1),
    (["sandbox", "--port", "99999"], 2),
]


def test_no_command_but_those_of_the_pipeline_needs_prefect(tmp_path: Path) -> None:
    """A `prefect` that explodes on import stands first on the path."""
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "prefect.py").write_text("raise SystemExit('prefect was imported')")
    place = tmp_path / "place"
    place.mkdir()
    speak_to_prefect = {n for n, (where, *_) in COMMANDS.items() if where.startswith("pipeline:")}
    assert speak_to_prefect == {"up", "down", "register"}
    assert {words[0] for words, _ in POISONED} == {*COMMANDS, *GROUPS} - speak_to_prefect
    code = (
        "import json, sys\n"
        "from qdrant_dr.cli import main\n"
        "for words, _ in json.loads(sys.argv[1]):\n"
        "    print('::', main(words), *words, file=sys.stderr, flush=True)\n"
        "assert 'prefect' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(POISONED)],
        cwd=place, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(poison), str(ROOT)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "prefect was imported" not in done.stderr
    assert "defect of qdrant-dr" not in done.stderr, done.stderr
    ends = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("::")]
    assert [(words, int(code)) for code, *words in ends] == POISONED
