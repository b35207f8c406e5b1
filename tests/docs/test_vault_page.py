"""docs/vault-format.md is enough to get an archive out: nothing here is taken from our code."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tests.support import records as made
from tests.support.backed_up import backed_up
from tests.support.replay import FIXTURES
from tests.support.vaults import vault_on_disk

PAGE = (Path(__file__).parents[2] / "docs" / "vault-format.md").read_text()


def test_the_script_of_the_page_puts_an_archive_together(tmp_path: Path) -> None:
    vault = vault_on_disk(tmp_path / "vault")
    days = [(FIXTURES / f"series/day-{n}.snapshot").read_bytes() for n in (1, 2)]
    backed_up(vault, data=days[0], at=made.NOW - timedelta(days=1))
    backed_up(vault, data=days[1])
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "qdrant_dr" not in script
    file = tmp_path / "rebuild.py"
    file.write_text(script)
    recipes = sorted((tmp_path / "vault").rglob("*.recipe"))
    for number, (recipe, data) in enumerate(zip(recipes, days, strict=True)):
        out = tmp_path / f"{number}.snapshot"
        where = recipe.relative_to(tmp_path / "vault")
        subprocess.run(
            [sys.executable, file, where, out], cwd=tmp_path / "vault", check=True, timeout=60
        )
        assert out.read_bytes() == data
