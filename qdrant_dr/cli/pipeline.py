"""`up`, `down`, `register`: the commands that speak to Prefect, by the project of this package."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from qdrant_dr import project
from qdrant_dr.cli.session import Given, Reply, Session
from qdrant_dr.configfile import VARIABLE
from qdrant_dr.text import lines

POOL, NOTIFY = "QDR_WORK_POOL", "QDR_NOTIFY"


def up(
    *,
    pool: str | None = None,
    notify: str | None = None,
    prefect_file: Path | None = None,
    session: Given,
) -> Reply:
    """Make a scheduled pipeline on Prefect of the configuration; again, it changes nothing.

    It uses the Prefect API that is configured (PREFECT_API_URL or the active profile); only where
    there is none it starts a server of its own, on loopback, with its data below .up/.

    Parameters
    ----------
    pool
        The work pool of every deployment. Else $QDR_WORK_POOL, else qdrant-dr.
    notify
        Notification block for alerts, TYPE/NAME such as slack-webhook/ops; none: nobody. Else
        $QDR_NOTIFY, else whoever is told now.
    prefect_file
        The deployments. Else those of this package.
    """
    did, say = _told(session)
    environ = _environ(session, pool, notify)
    project.load("deployments.up").up(prefect_file, environ, say)
    return _reply(session, did)


def down(*, session: Given) -> Reply:
    """End the worker and the server that `up` has started; deployments and data stay.

    Runs at work are asked to end first, and write down how far they came.
    """
    did, say = _told(session)
    project.load("deployments.down").down(say)
    return _reply(session, did)


def register(
    *,
    pool: str | None = None,
    notify: str | None = None,
    save_as: str | None = None,
    prefect_file: Path | None = None,
    session: Given,
) -> Reply:
    """Do all that `up` does on the Prefect API, and start nothing: worker and server are yours.

    Work pool and queues, concurrency limits, automations, deployments. What is there and equal is
    left alone.

    Parameters
    ----------
    pool
        The work pool, made as a process pool where there is none. Else $QDR_WORK_POOL, else
        qdrant-dr.
    notify
        Notification block for alerts, TYPE/NAME such as slack-webhook/ops; none: nobody. Else
        $QDR_NOTIFY, else whoever is told now.
    save_as
        Keep the configuration file as this block.
    prefect_file
        The deployments. Else those of this package.
    """
    did, say = _told(session)
    environ = _environ(session, pool, notify)
    project.load("deployments.up").register_only(prefect_file, environ, save_as, say)
    return _reply(session, did)


def _environ(session: Session, pool: str | None, notify: str | None) -> dict[str, str]:
    """The environment, with what the command line says instead of it."""
    given = {VARIABLE: session.reference, POOL: pool, NOTIFY: notify}
    return {**os.environ, **{name: value for name, value in given.items() if value}}


def _told(session: Session) -> tuple[list[str], Callable[[str], None]]:
    """What is done, kept and shown line by line as it happens."""
    did: list[str] = []

    def say(text: str) -> None:
        did.extend(text.strip().splitlines())
        if session.json and session.log == "json":
            session.say(text.strip())
            return
        out = sys.stderr if session.json else sys.stdout
        out.write((lines(text) if out.isatty() else text) + "\n")
        out.flush()

    return did, say


def _reply(session: Session, did: list[str]) -> Reply:
    return Reply(rows=[{"did": line} for line in did if line]) if session.json else Reply()
