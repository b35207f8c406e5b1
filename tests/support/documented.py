"""The commands of a page: what stands in its fenced blocks, by heading and kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block; `kind` is the second word behind the fence."""

    page: str
    heading: str
    kind: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its commands, without what a here-document holds."""
        found, inside = [], False
        for line in self.text.splitlines():
            if inside:
                inside = line != "END"
            elif line and not line.startswith("#"):
                found.append(line)
                inside = line.endswith("<<END")
        return found


def blocks(page: str) -> list[Block]:
    """Every block of shell of a page."""
    text = (DOCS / f"{page}.md").read_text()
    headings = [(m.start(), m[1]) for m in _HEADING.finditer(text)]
    found = []
    for match in _FENCE.finditer(text):
        if match[1] != "sh":
            continue
        above = [name for at, name in headings if at < match.start()]
        found.append(Block(page, above[-1] if above else "", match[2], match[3]))
    return found
