"""Secrets are references; the text behind one lives only where it is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qdrant_dr.errors import SecretMissing

PATTERN = r"^(env|file|secret):.+$"
SecretRef = Annotated[
    str, Field(pattern=PATTERN, description="env:NAME | file:PATH | secret:NAME; never plain text")
]
Resolver = Callable[[str], str | None]

_resolvers: list[Resolver] = []


def register_resolver(resolver: Resolver) -> None:
    """Let `secret:NAME` be looked up elsewhere too, after `$QDR_SECRETS_DIR`."""
    if resolver not in _resolvers:
        _resolvers.append(resolver)


def resolve(reference: str) -> str:
    """The text behind a reference, without the space around it: files and variables end in line
    breaks, and an HTTP library shows the whole header that it refuses because of one.

    Raise SecretMissing if there is none, or if it cannot be a key; the error never holds any of it.
    """
    text = _look_up(reference).strip()
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


def resolve_options(options: dict[str, Any]) -> dict[str, Any]:
    """A copy of fsspec options with every reference in it, at any depth, resolved."""
    return {k: _resolve_value(v) for k, v in options.items()}


def _resolve_value(value: Any) -> Any:
    if isinstance(value, dict):
        return resolve_options(value)
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
