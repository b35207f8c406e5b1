"""Whether the command line takes a command that is told."""

from __future__ import annotations

import shlex

from qdrant_dr.cli.app import build

OPEN = {
    "BACKUP": "movies@latest",
    "COLLECTION": "movies",
    "COLLECTION@latest-proven": "movies@latest-proven",
    "REPOSITORY": "one",
    "RUN": "r-1",
}
"""What fills the words that a person fills."""


def parse(command: str) -> None:
    """Raise if the command line would not take it. Its help must be there, too."""
    known = command.replace("--depth x", "--depth content")
    words = [OPEN.get(word, word) for word in shlex.split(known)]
    if words[0] != "qdrant-dr" or words[1] == "--help":
        return
    app = build()
    if words[-1] == "--help":
        words.pop()
        assert app[words[1]], command
        return
    called, _, _ = app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert callable(called), command
