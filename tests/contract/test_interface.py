"""What scripts, auditors and old backups rely on stays as it is: commands, options, exit codes, the
keys of `--json`, the fields of records (frames and configuration are compared with docs/).

To change one on purpose: `QDR_WRITE_GOLDEN=1 pytest -n 0 tests/contract/test_interface.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import records
from qdrant_dr.cli import main
from qdrant_dr.cli.commands import EVERY_COMMAND
from qdrant_dr.records.base import Frozen
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed

GOLDEN = Path(__file__).parent / "golden"
SAID = (
    ("check",),
    ("backup",),
    ("backup", "--dry-run"),
    ("replicate",),
    ("verify",),
    ("drill", "movies"),
    ("expire",),
    ("hold", "movies@latest", "--reason", "a question"),
    ("hold",),
    ("acknowledge",),
    ("restore", "movies@latest-proven", "--to", "URL", "--as", "movies-back"),
    ("restore", "movies@latest-proven", "--to", "URL", "--as", "movies-back", "--execute"),
    ("list",),
    ("show", "movies@latest", "--proofs"),
    ("status",),
    ("report", "--format", "csv"),
    ("watch",),
    ("repository", "list"),
    ("repository", "show", "one"),
)


def unchanged(name: str, found: str) -> None:
    file = GOLDEN / name
    if os.environ.get("QDR_WRITE_GOLDEN"):
        file.write_text(found)
    assert found.splitlines() == file.read_text().splitlines()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    folder = tmp_path_factory.mktemp("interface")
    with sandbox_server(folder / "source") as server:
        seed(server.url, "movies", points=30)
        yield make_world(folder, server.url), server.url


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Every path to a value in JSON; items of lists and names of ours are alike."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from keys(inner, f"{path}.{'*' if name in NAMES else name}")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")
    else:
        yield path


NAMES = {"movies", "one", "two", "three", "0", "aws", "gcp", "azure"}


def test_the_keys_of_json_stay(
    world: tuple[World, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, url = world
    monkeypatch.chdir(made.file.parent)
    lines: list[str] = []
    for words in SAID:
        capsys.readouterr()
        given = [w.replace("URL", url) for w in words]
        code = main([*given, "--json", "-q", "-c", made.reference])
        said = json.loads(capsys.readouterr().out)
        assert code == 0, (words, said["errors"])
        lines.append(f"{' '.join(words)}: exit {code}")
        lines += [f"    {p}" for p in sorted(set(keys(said)))]
    unchanged("json-keys.txt", "\n".join(lines) + "\n")


def test_commands_options_and_exit_codes_stay(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    every = [tuple(name.split()) for name in EVERY_COMMAND]
    for command in sorted(every):
        capsys.readouterr()
        assert main([*command, "--help"]) == 0
        said = capsys.readouterr().out.split("╭─ Global options")[0]
        lines.append(" ".join(command))
        lines += [f"    {o}" for o in sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", said)))]
    main(["--help"])
    lines.append(" ".join(capsys.readouterr().out.partition("Exit: ")[2].split()))
    unchanged("commands.txt", "\n".join(lines) + "\n")


def test_the_fields_of_records_stay() -> None:
    lines = []
    for name, record in sorted(vars(records).items()):
        if not (isinstance(record, type) and issubclass(record, Frozen)):
            continue
        schema = record.model_json_schema()
        lines.append(name)
        for field, about in sorted(schema.get("properties", {}).items()):
            kind = (
                about.get("type") or about.get("$ref") or sorted(map(str, about.get("anyOf", ())))
            )
            needed = ", required" if field in schema.get("required", ()) else ""
            lines.append(f"    {field}: {kind}{needed}")
    unchanged("records.txt", "\n".join(lines) + "\n")
