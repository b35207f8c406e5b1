"""Secrets are references; the text behind one lives only where it is used.

What is kept out of logs stands in `json_lines` and `cli/logs`, out of quoted files in
`configfile/excerpt`; Secret blocks of Prefect are read by `tasks/secrets`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qdrant_dr.errors import SecretMissing

PATTERN = r"^(env|file|secret):.+$"
SecretRef = Annotated[
    str, Field(pattern=PATTERN, description="env:NAME | file:PATH | secret:NAME; never plain text")
]
BLOCK = r"^block:[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*$"
"""A credentials block of Prefect: its type, its name."""
Resolver = Callable[[str], str | None]
BlockReader = Callable[[str], Mapping[str, Any]]

_resolvers: list[Resolver] = []
_block_readers: list[BlockReader] = []


def register_resolver(resolver: Resolver) -> None:
    """Let `secret:NAME` be looked up elsewhere too, after `$QDR_SECRETS_DIR`."""
    if resolver not in _resolvers:
        _resolvers.append(resolver)


def register_block_reader(reader: BlockReader) -> None:
    """Let `block:TYPE/NAME` be read: `reader("TYPE/NAME")` gives options of fsspec, or raises.

    The library has none of its own; a process has at most one: the last one registered counts.
    """
    _block_readers[:] = [reader]


def resolve(reference: str) -> str:
    """The text behind a reference, without the space around it: files and variables end in line
    breaks, and an HTTP library shows the whole header that it refuses because of one.

    Raise SecretMissing if there is none, or if it cannot be a key; the error never holds any of it.
    """
    return _clean(reference, _look_up(reference))


def resolve_text(reference: str) -> str:
    """The text behind a reference that may have several lines, such as a private key. Raise
    SecretMissing if there is none."""
    text = _look_up(reference).strip()
    if not text:
        raise SecretMissing(f"{reference} is empty")
    return text


def _clean(reference: str, text: str) -> str:
    text = text.strip()
    if not text:
        raise SecretMissing(f"{reference} is empty")
    if not text.isprintable():
        raise SecretMissing(
            f"{reference} holds a line break or another character that is none of a key",
            "write the key alone into it, on one line.",
        )
    return text


def _look_up(reference: str) -> str:
    kind, _, name = reference.partition(":")
    if kind == "env":
        if (text := os.environ.get(name)) is not None:
            return text
        raise SecretMissing(f"environment variable {name} is not set")
    if kind == "file":
        return _read(Path(name).expanduser(), reference)
    if kind == "secret":
        folder = os.environ.get("QDR_SECRETS_DIR")
        if folder and (Path(folder) / name).is_file():
            return _read(Path(folder) / name, reference)
        for resolver in _resolvers:
            if (text := resolver(name)) is not None:
                return text
        raise SecretMissing(
            f"nothing is known as {reference}",
            "put it into a file of that name below $QDR_SECRETS_DIR, or save a secret block.",
        )
    raise SecretMissing(f"{kind!r} is not a kind of reference", "use env:, file: or secret:")


def resolve_options(options: Mapping[str, Any], credentials: str | None = None) -> dict[str, Any]:
    """A copy of fsspec options with every reference in it, at any depth, resolved; they lie over
    those of the block `credentials`."""
    found = {key: _resolve_value(value) for key, value in options.items()}
    return laid_over(block_options(credentials), found) if credentials else found


def laid_over(below: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options over others, also within a mapping such as `client_kwargs`."""
    found = dict(below)
    for key, value in options.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = {**found[key], **value} if both else value
    return found


def block_options(reference: str) -> dict[str, Any]:
    """What `block:TYPE/NAME` stands for: a JSON object in a file of that path below
    `$QDR_SECRETS_DIR`, else whatever the reader that is registered makes of the block.

    Raise SecretMissing if there is none, ConfigInvalid if it cannot be used; no error holds any
    of it.
    """
    name = reference.removeprefix("block:")
    folder = os.environ.get("QDR_SECRETS_DIR")
    if folder and (file := Path(folder) / name).is_file():
        found = _parse_options(_read(file, reference), reference)
    elif _block_readers:
        found = dict(_block_readers[0](name))
    else:
        raise SecretMissing(
            f"{reference} is a block of Prefect, and no Prefect is loaded here",
            f"put its options as a JSON object into the file {name} below $QDR_SECRETS_DIR.",
        )
    # a key that was pasted ends in a line break; nested values may be whole key files
    return {
        key: _clean(f"{key} of {reference}", value) if isinstance(value, str) else value
        for key, value in found.items()
    }


def _parse_options(text: str, reference: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SecretMissing(
            f"the file of {reference} is not a JSON object",
            'write the options of fsspec into it, such as {"key": "...", "secret": "..."}.',
        )
    return found


def _resolve_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _resolve_value(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_resolve_value(v) for v in value]
    if isinstance(value, str) and value.startswith(("env:", "file:", "secret:")):
        # `file:` is also how a path of a key file may begin; a URL is not a reference
        return value if value.startswith("file://") else resolve(value)
    return value


def _read(path: Path, reference: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as e:
        raise SecretMissing(f"{reference} cannot be read: {e.strerror}") from None
    except UnicodeDecodeError:  # it would show a piece of it
        raise SecretMissing(f"{reference} is not UTF-8 text") from None
