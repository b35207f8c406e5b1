"""`completion`: a script that a real shell reads and answers with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from qdrant_dr.cli.completion import completion

    file = tmp_path_factory.mktemp("shell") / "qdrant-dr.bash"
    file.write_text(completion("bash").text or "")
    return file


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ver", {"verify"}),
        ("repository ad", {"adopt"}),
        ("verify --dep", {"--depth"}),
        ("verify --depth pres", {"presence"}),
        ("backup --log", {"--log"}),
        ("backup --log j", {"json"}),
        ("completion f", {"fish"}),
    ],
)
def test_bash_completes(script: Path, typed: str, offered: set[str]) -> None:
    words = typed.split()
    asks = (
        f"source {script}; COMP_WORDS=(qdrant-dr {typed}); COMP_CWORD={len(words)}; "
        '_qdrant_dr; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asks], capture_output=True, text=True, timeout=30, check=True
    )
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_own_script(qdr: Callable[..., Any], shell: str) -> None:
    said = qdr("completion", shell)
    assert said.code == 0
    assert "startup-archive" in said.out
    assert "not-proven-since" in said.out
    (row,) = qdr("completion", shell, "--json").json["rows"]
    assert row["shell"] == shell
    assert row["script"].rstrip("\n") == said.out.rstrip("\n")


def test_another_shell_is_refused(qdr: Callable[..., Any]) -> None:
    said = qdr("completion", "tcsh")
    assert said.code == 2
    assert "tcsh" in said.err
