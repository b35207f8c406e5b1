"""Say what is wrong with a command line. The library's messages name Python types and tokens."""

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
    """Return the error in lower case, without full stop; None if the library's words will do."""
    return next((say(error) for kind, say in _SAID.items() if isinstance(error, kind)), None)


def _missing(error: CycloptsError) -> str | None:
    assert isinstance(error, MissingArgumentError)
    argument = error.argument
    if argument is None or argument.token_count()[0] != 1:
        return None
    given = [t.keyword for t in argument.tokens if t.keyword]
    if name := error.keyword or next(reversed(given), None):
        return f"{name} needs a value: write it after {name}"
    return f"{argument.name} is missing"


def _no_such_value(error: CycloptsError) -> str | None:
    assert isinstance(error, CoercionError)
    wanted = _WANTED.get(error.target_type)
    if wanted is None or error.token is None or error.msg is not None:
        return None
    name = error.token.keyword or (error.argument.name if error.argument else "a word")
    return f"{name} {wanted}, not {error.token.value!r}"


def _too_many(error: CycloptsError) -> str:
    words = ", ".join(map(repr, error.unused_tokens or []))
    return f"unexpected argument {words}"


_SAID: dict[type[CycloptsError], Callable[[CycloptsError], str | None]] = {
    MissingArgumentError: _missing,
    CoercionError: _no_such_value,
    UnusedCliTokensError: _too_many,
}
