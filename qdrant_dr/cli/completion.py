"""`completion`."""

from __future__ import annotations

from typing import Literal

from qdrant_dr.cli.session import Reply, Session

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Shell, /) -> Reply:
    """Print a script with which your shell completes commands and options.

    Parameters
    ----------
    shell
        The shell that reads the script.
    """
    from qdrant_dr.cli.app import build, with_globals

    script = with_globals(build(), Session()).generate_completion(shell=shell)
    return Reply(rows=[{"shell": shell, "script": script}], text=script)
