"""The page of every option is what the commands say of themselves.

To write it anew: `python -m deployments.tools.options_page > docs/options.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployments.tools.options_page import page
from qdrant_dr.cli import main
from qdrant_dr.cli.commands import EVERY_COMMAND

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "options.md").read_text()


def test_the_page_is_up_to_date() -> None:
    assert page().splitlines() == TEXT.splitlines()


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_it_has_every_option_of_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out.split("╭─ Global options")[0].split("Example:")[0]
    options = set(re.findall(r"^│ \*? *(--[a-z][a-z-]*)", said, re.MULTILINE))
    section = TEXT.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| (`--[^|]*?) \|", section, re.MULTILINE)
    assert options == {name for row in listed for name in re.findall(r"`(--[a-z-]+)`", row)}
