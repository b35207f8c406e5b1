"""Write ids of repositories and of their master keys into the file, below their names, and change
nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from qdrant_dr.configfile.yaml_document import YamlDocument, read
from qdrant_dr.errors import ConfigInvalid

Field = Literal["id", "key_id"]


def save_ids(
    path: Path, ids: Mapping[str, str], key_ids: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write `id:` and `key_id:` lines for repositories by name; comments and layout stay as they
    are.

    Raise ConfigInvalid, leaving the file unchanged, if its layout does not allow an insertion or if
    it cannot be replaced."""
    replace_file(path, lambda text: with_ids(with_ids(text, key_ids, "key_id"), ids), _BY_HAND)


def replace_file(path: Path, change: Callable[[str], str], by_hand: str) -> None:
    """Change the text of a file, in one step. Raise ConfigInvalid if it cannot be replaced."""
    try:
        with path.open(encoding="utf-8", newline="") as file:  # keep the line endings
            text = file.read()
        changed = change(text)
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            new.write_text(changed, encoding="utf-8", newline="")
            new.chmod(path.stat().st_mode & 0o777)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as e:
        raise ConfigInvalid(f"{path} cannot be written: {e.strerror}", by_hand) from None


def with_ids(text: str, ids: Mapping[str, str], field: Field = "id") -> str:
    """Return the text with the ids in it. Raise ConfigInvalid if they cannot be inserted."""
    source = read(text)
    lines = text.splitlines(keepends=True)
    repositories = source.data.get("repositories", [])
    for i in reversed(range(len(repositories))):
        if (name := str(repositories[i].get("name"))) in ids:
            _put(lines, source, i, name, field, ids[name])
    changed = "".join(lines)
    found = {r.get("name"): r.get(field) for r in read(changed).data["repositories"]}
    if any(found.get(name) != made for name, made in ids.items()):
        raise ConfigInvalid("the ids could not be put into the file", _BY_HAND)
    return changed


def _put(
    lines: list[str], source: YamlDocument, i: int, name: str, field: Field, made: str
) -> None:
    if (old := source.lines.get(("repositories", i, field))) is not None:
        entry = rf"(?<!\w)({field}\s*:)[^\r\n]*"
        lines[old - 1] = re.sub(entry, rf'\1 "{made}"', lines[old - 1], count=1)
        return
    at = source.line(("repositories", i, "name"))
    if (brace := source.braces.get(("repositories", i))) is not None:
        line, column = brace
        lines[line - 1] = f'{lines[line - 1][:column]}{field}: "{made}", {lines[line - 1][column:]}'
        return
    match = re.match(r"^([ ]*(?:-[ ]+)?)name[ ]*:", lines[at - 1])
    if match is None:
        raise ConfigInvalid(
            f"line {at}: {name!r} is not written as one key per line, so no line can be added",
            _BY_HAND,
        )
    end = "\r\n" if lines[at - 1].endswith("\r\n") else "\n"
    lines[at - 1] = lines[at - 1].rstrip("\r\n") + end
    lines.insert(at, f'{" " * len(match[1])}{field}: "{made}"{end}')


_BY_HAND = "put the ids printed above into the file yourself."
