"""The command line: commands and global options put together, and what was misused in words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from qdrant_dr.cli.commands import COMMANDS, GROUPS, OPTIONS
from qdrant_dr.cli.help import Formatter, example
from qdrant_dr.cli.session import Reply, Session
from qdrant_dr.cli.usage import plain_words
from qdrant_dr.errors import UsageError
from qdrant_dr.json_lines import LogFormat, log_format

GLOBAL = Group("Global options", sort_key=99)

EXITS = (
    "Exit: 0 ok, 1 failed or unprotected, 2 usage or configuration, 3 degraded, 4 refused, "
    "5 unreachable, 6 different (`diff`), 130 interrupted."
)
FIRST_STEPS = (
    "qdrant-dr init",
    "qdrant-dr repository create --save",
    "qdrant-dr check",
    "qdrant-dr backup",
)


def build() -> App:
    """Build the application: commands below it, global options on its `meta`."""
    app = App(
        name="qdrant-dr",
        help="Disaster recovery for Qdrant: every backup proven restorable, by content.",
        help_format="plaintext",
        help_formatter=Formatter(),
        help_epilogue=f"{example(*FIRST_STEPS)}\n\n{EXITS}",
        version=_version,
        version_flags=["--version"],
    )
    _add(app, COMMANDS)
    for position, (name, (table, about)) in enumerate(GROUPS.items()):
        group = App(
            name=name,
            help=about,
            help_epilogue=example(table.get("list", next(iter(table.values())))[2]),
            sort_key=len(COMMANDS) + position,
        )
        _add(group, table)
        app.command(group)
    return app


def run(tokens: Sequence[str], session: Session) -> Reply | None:
    """Run one command line and fill `session`. Return None if help was printed.

    Raise CycloptsError for a command line that cannot be understood, and whatever the command
    raises.
    """
    app = with_globals(build(), session)
    app.meta.suppress_keyboard_interrupt = False  # `main` puts it into an envelope, like any error
    reply = app.meta(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    return reply if isinstance(reply, Reply) else None


def with_globals(app: App, session: Session) -> App:
    """Give the application its global options: what they say is put into the session."""

    @app.meta.default
    def launch(
        *rest: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        config: Annotated[str | None, Parameter(name=["--config", "-c"], group=GLOBAL)] = None,
        json: Annotated[bool, Parameter(negative=(), show_default=False, group=GLOBAL)] = False,
        quiet: Annotated[
            bool, Parameter(name=["--quiet", "-q"], negative=(), show_default=False, group=GLOBAL)
        ] = False,
        verbose: Annotated[
            bool, Parameter(name=["--verbose", "-v"], negative=(), show_default=False, group=GLOBAL)
        ] = False,
        log: Annotated[LogFormat | None, Parameter(group=GLOBAL)] = None,
    ) -> Any:
        """
        Parameters
        ----------
        config
            Path or URL of the configuration. Default: $QDRANT_DR_CONFIG, else ./qdrant-dr.yaml.
        json
            Print one JSON object on stdout instead of text.
        quiet
            Print no progress on stderr.
        verbose
            Log each step, and the traceback of a defect.
        log
            Log to stderr as text for people, or as JSON, a line per event. Default: $QDR_LOG, else
            text.
        """
        session.reference, session.json = config, json
        session.quiet, session.verbose = quiet, verbose
        session.log = log or log_format()
        names, _, _ = app.parse_commands(rest)
        session.command = " ".join(names)
        command, bound, extra = app.parse_args(rest, exit_on_error=False, print_error=False)
        given = {"session": session} if "session" in extra else {}
        return command(*bound.args, **bound.kwargs, **given)

    return app


def usage_message(error: CycloptsError) -> str:
    """Return the error as this project writes them: lower case, no full stop, no box."""
    if isinstance(error, UnknownCommandError):
        return _unknown_command(error.unused_tokens or [])
    if words := plain_words(error):
        return words
    said = str(error).strip().splitlines()[0].removesuffix(".")
    return said[0].lower() + said[1:]


def misused(error: Exception, hint: str) -> UsageError | None:
    """Say what is wrong with the options of a request; None if the error is about something else.

    The value is not shown: it may be a key where its reference was expected.
    """
    # imported here to keep `--help` quick
    from pydantic import ValidationError

    from qdrant_dr.configfile.refused_values import plain

    if not isinstance(error, ValidationError) or not error.title.endswith("Request"):
        return None
    said = []
    for one in error.errors(include_url=False, include_input=False):
        field = str(one["loc"][0]) if one["loc"] else ""
        option = OPTIONS.get(field, "--" + field.replace("_", "-"))
        said.append(f"{option}: {plain(one)}")
    return UsageError("; ".join(said), hint)


def _unknown_command(tokens: Sequence[str]) -> str:
    """Name the nearest command ourselves: the library would import every command to find it."""
    word = tokens[0] if tokens else ""
    known = [*COMMANDS, *GROUPS, *(name for table, _ in GROUPS.values() for name in table)]
    close = difflib.get_close_matches(word, known, 1)
    return f"there is no command {word!r}" + (f"; did you mean {close[0]}?" if close else "")


def _add(app: App, commands: Mapping[str, tuple[str, ...]]) -> None:
    for position, (name, (where, help_text, *examples)) in enumerate(commands.items()):
        app.command(
            f"qdrant_dr.cli.{where}",
            name=name,
            help=help_text,
            help_epilogue=example(*examples),
            sort_key=position,
        )


def _version() -> str:
    from qdrant_dr.version import __version__

    return __version__
