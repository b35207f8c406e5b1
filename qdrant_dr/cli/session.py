"""What every command receives (the global options) and returns (rows, verdict, errors)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from cyclopts import Parameter

from qdrant_dr.cli.exit_codes import EXIT, Verdict
from qdrant_dr.json_lines import LogFormat
from qdrant_dr.text import lines

if TYPE_CHECKING:
    from qdrant_dr.config import Config

log = logging.getLogger(__name__)

Row = Mapping[str, Any]


class Said(Protocol):
    """An error of the tree, or one that was read from a record."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...


@dataclass(frozen=True)
class Column:
    """One column of a table: its heading, and how a value of the row is written.

    A terminal that is too narrow goes without the columns that are `spare`, the lowest first.
    """

    key: str
    heading: str
    write: Callable[[Any], str] = str
    right: bool = False
    spare: int = 0


@dataclass(frozen=True)
class Reply:
    """The result of a command. `text` is printed on stdout instead of a table of `rows`.

    The exit code follows from the verdict unless `exit_code` is set.
    """

    rows: Sequence[Row] = ()
    columns: Sequence[Column] = ()
    text: str | None = None
    verdict: Verdict = "ok"
    exit_code: int | None = None
    run_id: str | None = None
    errors: Sequence[Said] = ()
    remarks: Sequence[str] = ()
    """Lines for people, on stderr."""

    @property
    def code(self) -> int:
        return EXIT[self.verdict] if self.exit_code is None else self.exit_code


@dataclass
class Session:
    """The global options, and the configuration they lead to."""

    reference: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    log: LogFormat = "text"
    command: str = ""

    @cached_property
    def config(self) -> Config:
        """Load the configuration. Raise ConfigInvalid."""
        from qdrant_dr import configfile

        return configfile.load(configfile.find(self.reference))

    def say(self, line: str) -> None:
        """Write one line of progress to stderr, unless -q."""
        if self.quiet:
            return
        if self.log == "json":
            log.info("%s", line)
        else:
            sys.stderr.write(lines(line) + "\n")
            sys.stderr.flush()


Given = Annotated[Session, Parameter(parse=False)]
"""A parameter that every command has and that is not read from the command line."""
