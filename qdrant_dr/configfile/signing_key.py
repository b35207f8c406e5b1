"""Write who signs the ledger into the file, below `signing:`, and change nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from qdrant_dr.configfile.ids import replace_file
from qdrant_dr.configfile.yaml_document import read
from qdrant_dr.errors import ConfigInvalid

_KEY = re.compile(r"""(\bkey\s*:\s*)("[^"]*"|'[^']*'|[^\s,}#]+)""")


def save_signing_key(path: Path, reference: str) -> None:
    """Write `signing: {key: REFERENCE}`; comments and layout stay as they are.

    Raise ConfigInvalid, leaving the file unchanged, if its layout does not allow that or if it
    cannot be replaced."""
    replace_file(path, lambda text: with_signing_key(text, reference), by_hand(reference))


def with_signing_key(text: str, reference: str) -> str:
    """Return the text with the key in it. Raise ConfigInvalid if it cannot be put there."""
    source, value = read(text), json.dumps(reference)
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    section = source.data.get("signing")
    if isinstance(section, dict) and ("signing", "key") in source.lines:
        at = source.line(("signing", "key")) - 1
        lines[at] = _KEY.sub(_put(value), lines[at], count=1)
    elif isinstance(section, dict) and section and ("signing",) not in source.braces:
        at = min(source.line(("signing", name)) for name in section) - 1
        indent = re.match(r" *", lines[at])
        lines.insert(at, f"{indent[0] if indent else '  '}key: {value}{end}")
    elif section is None and "signing" not in source.data:
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += end
        lines += [f"{end}signing:{end}", f"  key: {value}{end}"]
    changed = "".join(lines)
    found = read(changed).data
    put = (found.get("signing") or {}).get("key") == reference
    if not put or _others(found) != _others(source.data):
        raise ConfigInvalid("the key could not be put into the file", by_hand(reference))
    return changed


def by_hand(reference: str) -> str:
    """Return what to write where the file cannot be changed."""
    return f"write `signing: {{key: {json.dumps(reference)}}}` into the file yourself."


def _put(value: str) -> Callable[[re.Match[str]], str]:
    return lambda match: match[1] + value


def _others(data: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in data.items() if name != "signing"}
