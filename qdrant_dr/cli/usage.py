"""What is wrong with a command line, in our words: the library names types of Python and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnusedCliTokensError

_WANTED: dict[Any, str] = {
    int: "must be a whole number",
    float: "must be a number",
    bool: "must be true or false",
}


def plain_words(error: CycloptsError) -> str | None:
    """Lower case, no full stop; None if the library says it well enough."""
    return next((say(error) for kind, say in _SAID.items() if isinstance(error, kind)), None)


def _missing(error: CycloptsError) -> str | None:
    assert isinstance(error, MissingArgumentError)
    argument = error.argument
    if argument is None or argument.token_count()[0] != 1:
        return None
    given = [t.keyword for t in argument.tokens if t.keyword]
    if name := error.keyword or next(reversed(given), None):
        return f"{name} is given without its value: write it behind"
    return f"{argument.name} is missing"


def _no_such_value(error: CycloptsError) -> str | None:
    assert isinstance(error, CoercionError)
    wanted = _WANTED.get(error.target_type)
    if wanted is None or error.token is None or error.msg is not None:
        return None
    name = error.token.keyword or (error.argument.name if error.argument else "a word")
    return f"{name} {wanted}, and {error.token.value!r} is none"


def _too_many(error: CycloptsError) -> str:
    words = ", ".join(map(repr, error.unused_tokens or []))
    return f"there is nothing that {words} could mean here: one word too many?"


_SAID: dict[type[CycloptsError], Callable[[CycloptsError], str | None]] = {
    MissingArgumentError: _missing,
    CoercionError: _no_such_value,
    UnusedCliTokensError: _too_many,
}
