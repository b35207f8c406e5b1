"""The table "Where do I look for ..." in CONTRIBUTING names what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(
    r"^\| ([^|]+) \| `([^`|]+)` \| `([^`|]+)` \|$",
    (ROOT / "CONTRIBUTING.md").read_text(),
    re.MULTILINE,
)


def test_the_table_is_long_enough_to_be_of_use() -> None:
    assert len(ROWS) >= 30
    assert len({behaviour for behaviour, _, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("behaviour", "file", "name"), ROWS, ids=[row[0] for row in ROWS])
def test_what_the_table_names_is_defined_there(behaviour: str, file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert name in defined, f"{behaviour}: {file} defines {sorted(defined)}"
