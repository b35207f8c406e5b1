"""The command line in this process: arguments in, exit code and both streams out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cli import main
from qdrant_dr.configfile import VARIABLE


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        body = json.loads(self.out)
        assert list(body) == ["format", "command", "run_id", "verdict", "rows", "errors"]
        assert all(set(e) == {"code", "message", "hint"} for e in body["errors"])
        return dict(body)


Command = Callable[..., Said]


@pytest.fixture
def qdr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs in an empty folder, without a configuration of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
