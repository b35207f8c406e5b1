"""`make demo`: the whole promise, on a sandbox or on your server, in a minute or two.

Back up -> change a little, back up again -> verify -> drill -> rot one pack -> verify finds it ->
replicate heals it -> the server dies with all that it stored: every collection comes back on an
empty one -> a script deletes the wrong points, and only those come back -> one collection more
under another name, the aliases moved -> report. Run as flows on a Prefect
server of its own, all below `.demo/`. The repositories differ: archives as they are, each block
once, and each block once and encrypted.
`QDRANT_URL` (and `QDRANT_API_KEY`) take your server instead, up to `DEMO_MAX`; that one is never
killed. `KEEP=1` leaves servers and pages open at the end, until Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from deployments.demo_evidence import evidence, signatures_by_hand
from deployments.demo_servers import (
    Memory,
    Source,
    consent,
    empty_server,
    remember,
    say,
    source_server,
)
from deployments.demo_story import (
    beside,
    delete_old_movies,
    details,
    newest_end,
    protected,
    rot_shared_pack,
    to_bring_back,
)
from deployments.private_server import NotStarted, isolate, private_server

if TYPE_CHECKING:
    from prefect import Flow

    from qdrant_dr.records.repository import Layout

HOME = Path(os.environ.get("DEMO_HOME", ".demo")).resolve()
KEEP = os.environ.get("KEEP", "") not in ("", "0")
LAYOUTS: dict[str, tuple[Layout, bool]] = {
    "aws": ("chunked", False),
    "gcp": ("chunked", True),
    "onprem": ("plain", False),
}
"""Of each repository its layout, and whether it is encrypted."""
ROTTING = "gcp"
AGAIN = "restored-under-another-name"

CONFIG = """\
format: 1
cluster:
  name: demo
  nodes: ["{source}"]
{keys}collections:
  exclude:
    - {{match: "tmp_*", reason: rebuilt nightly}}
repositories:
{repositories}copies: {{quorum: 2, domains: 2}}
capture:
  spool: {{path: "{home}/spool", max: 20GiB}}
objectives:
  rpo: 26h
  rto: 1h
drill:
  engine: server
  scratch: {{url: "{scratch}", disposable: true}}
  isolation: a second server on this machine
report:
  url: "{home}/report"
signing:
  key: "file:{home}/ledger.key"
  allowed_signers: "{home}/allowed_signers"
"""
REPOSITORY = """\
  - {{name: {name}, {id}url: "{home}/repositories/{name}", domain: demo-{name}{key}}}
"""


def main() -> int:
    """Run the demo; 0 if everything went as promised."""
    began = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)  # a demo of before must not decorate this one
    isolate(HOME / "prefect")
    logging.disable(logging.INFO)  # what runs log is in the records, too, and told from there
    with ExitStack() as stack:
        say("qdrant-dr demo: every step below is a real flow run, on data that is really read back")
        if yours := os.environ.get("QDRANT_URL"):
            consent(yours, shown(HOME))
        ui = stack.enter_context(private_server(HOME / "prefect"))
        say(f"  a Prefect server of its own, to watch the runs: {ui}")
        source = stack.enter_context(source_server(HOME, yours))
        scratch = stack.enter_context(empty_server(HOME / "scratch"))
        sign_the_ledger()
        story = Story(source, scratch, repositories(), stack)
        story.tell()
        story.summary(time.monotonic() - began)
        stay(ui, story.target)
    return 1 if story.broken else 0


def stay(ui: str, target: str) -> None:
    """Leave everything open until Ctrl-C with `KEEP=1`; else say how to do that."""
    if not KEEP:
        say("everything stops now; make demo KEEP=1 leaves it open, to look at")
        return
    ended = Event()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: ended.set())
    say(f"open until Ctrl-C: Prefect's pages at {ui}, the restored collections at {target}")
    ended.wait()
    say("stopped")


def shown(path: Path) -> str:
    """Return a path as a person would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def repositories() -> dict[str, str]:
    """Make the three repositories; by name, what says which they are: an id, that of a master
    key."""
    from datetime import UTC, datetime, timedelta

    from qdrant_dr.config import RepositoryConfig
    from qdrant_dr.repository import create_repository, read_repository

    ids = {}
    for name, (layout, encrypted) in LAYOUTS.items():
        place = HOME / "repositories" / name
        place.mkdir(parents=True)
        made = RepositoryConfig(
            name=name,
            url=str(place),
            domain=f"demo-{name}",
            key=key_of(name) if encrypted else None,
        )
        made_id = create_repository(made, datetime.now(UTC), kind=layout, encrypt=encrypted)
        ids[name] = f"id: '{made_id}'"
        if encrypted:
            key_id = read_repository(made, stall_timeout=timedelta(minutes=1)).record.key_id
            ids[name] += f", key_id: '{key_id}'"
    return ids


def sign_the_ledger() -> None:
    """Make the key that signs the ledger, and the file by which ssh-keygen believes it."""
    from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner
    from qdrant_dr.signing.ssh_keys import key_in_file

    key = key_in_file(HOME / "ledger.key")
    line = AllowedSigner("ledger@demo", key.public, LEDGER).line
    (HOME / "allowed_signers").write_text(f"{line}\n")


def key_of(name: str) -> str:
    """Return the reference of the key file that opens an encrypted repository."""
    return f"file:{HOME}/{name}.key"


def configure(source: str, scratch: str, ids: dict[str, str]) -> Path:
    """Write the configuration; whatever is restored to `scratch` needs no approval."""
    path = HOME / "qdrant-dr.yaml"
    keyed = bool(os.environ.get("QDRANT_URL") and os.environ.get("QDRANT_API_KEY"))
    path.write_text(
        CONFIG.format(
            source=source,
            scratch=scratch,
            home=HOME,
            keys="  api_key: env:QDRANT_API_KEY\n" if keyed else "",
            repositories="".join(
                REPOSITORY.format(
                    name=n,
                    id=f"{i}, ",
                    home=HOME,
                    key=f', key: "{key_of(n)}"' if LAYOUTS[n][1] else "",
                )
                for n, i in ids.items()
            ),
        )
    )
    return path


class Story:
    """The acts, each with what it must end in; anything else breaks the promise."""

    def __init__(
        self, source: Source, scratch: str, ids: dict[str, str], servers: ExitStack
    ) -> None:
        self.source = source
        self.target = scratch
        self.ids = ids
        self.servers = servers
        self.config = str(configure(source.url, scratch, ids))
        say(f"  three repositories below {shown(HOME / 'repositories')}, "
            f"configuration in {shown(Path(self.config))}:")  # fmt: skip
        for name, (layout, encrypted) in LAYOUTS.items():
            say(f"    {name}: {layout}{', encrypted' * encrypted}")
        self.rows: list[tuple[str, str, str, float]] = []
        self.drilled: list[bool] = []
        self.broken: list[str] = []

    def tell(self) -> None:
        """Play all acts in order."""
        from flows.backup import backup
        from flows.drill import drill
        from flows.replicate import replicate
        from flows.report import report
        from flows.verify import verify

        self.act("back up every collection to three repositories, prove the copies",
                 backup, "ok")  # fmt: skip
        if self.source.ours:
            say(f"\n  now the data changes: {self.source.change()}")
            self.act("back up again: where each block is stored once, only what is new is written",
                     backup, "ok")  # fmt: skip
            for line in beside(self.config):
                say(f"    {line}")
        self.act("verify: read every copy back and compare every point", verify, "ok")
        self.act("drill: restore copies into an empty server, compare every point, measure",
                 drill, "ok")  # fmt: skip
        spoilt = rot_shared_pack(self.config, ROTTING, HOME / "repositories" / ROTTING)
        say(f"\n  now one bit of one pack rots: {spoilt}")
        self.act("verify: it must find exactly that copy", verify, "failed", depth="bytes")
        self.act(
            "replicate: heal the pack, block by block, from a repository that has them",
            replicate,
            "ok",
        )
        self.act("verify: all is well again", verify, "ok")
        if self.source.ours:
            self.disaster()
            self.wrong_points()
        else:
            say("\n  no disaster here: your server stays alive, and is not restored to")
        self.under_another_name()
        self.act("report: what an auditor gets", report, "ok", also=("degraded",))
        self.as_a_stranger()

    def as_a_stranger(self) -> None:
        """Verify who wrote what, with the public key alone: by `ssh-keygen`, then all of it."""
        say("\n  and a stranger, who has the files of one repository, a public key and ssh-keygen:")
        trusted = HOME / "allowed_signers"
        for line in signatures_by_hand(HOME / "repositories" / "onprem", trusted):
            say(f"    {line}")
        say("  qdrant-dr evidence verify: each repository, with the others as its witnesses:")
        for line, good in evidence(self.config, trusted):
            say(f"    {line}")
            if not good:
                self.broken.append(f"evidence of {line}")

    def disaster(self) -> None:
        """Kill the source with all that it stored; bring everything back on an empty server."""
        from flows.restore import restore

        before = remember(self.source.url)
        say(f"\n  before the disaster: {before.words}")
        say(f"  and now the disaster: {self.source.die()}")
        self.expect_silence()
        self.target = self.servers.enter_context(empty_server(HOME / "recovery"))
        found = remember(self.target)
        say(f"  an empty server at {self.target} ({len(found.points)} collections) takes over")
        # the configured scratch needs no approval; anything else would pause and ask for it
        configure(self.source.url, self.target, self.ids)
        self.act("restore: bring every collection back, every point proven there",
                 restore, "ok", every=True, to=self.target)  # fmt: skip
        self.expect_all(before, remember(self.target))

    def wrong_points(self) -> None:
        """Delete points by a wrong filter; bring back exactly those into the live collection."""
        from flows.restore import restore

        before = remember(self.target)
        say(f"\n  now a script deletes by a wrong filter: {delete_old_movies(self.target)}")
        self.act("restore --points --missing: bring back what is gone, and touch nothing else",
                 restore, "ok", backup="movies@latest-proven", to=self.target, points=True,
                 missing=True)  # fmt: skip
        wrong = before.missing(remember(self.target))
        for line in wrong or ["the same counts, ids and payloads as before the script"]:
            say(f"    {line}")
        self.broken += wrong

    def under_another_name(self) -> None:
        """Restore one collection once more beside the existing ones, and move its aliases there."""
        from flows.restore import restore

        lost = to_bring_back(self.config)
        self.act(f"restore {lost.collection} once more, under another name, and move its aliases",
                 restore, "ok", backup=f"{lost.collection}@latest-proven", to=self.target,
                 name=AGAIN, aliases="move")  # fmt: skip
        self.expect_aliases(lost.aliases)

    def act(
        self,
        title: str,
        flow: Flow[..., Any],
        expected: str,
        *,
        also: tuple[str, ...] = (),
        **parameters: Any,
    ) -> None:
        """Run one flow and hold its verdict against what was promised."""
        say(f"\n> {title}")
        began = time.monotonic()
        state: Any = flow(config=self.config, **parameters, return_state=True)
        seconds = time.monotonic() - began
        end = newest_end(self.config)
        verdict = end.verdict if end else "no record"
        good = verdict == expected or verdict in also
        for line in details(end):
            say(f"    {line}")
        if flow.name == "drill":
            self.drilled += [o.verdict == "ok" for o in (end.outcomes if end else ())]
        say(f"  {flow.name}: {verdict} in {seconds:.1f} s ({state.name})"
            + ("" if good else f"; {expected} was promised: {state.message}"))  # fmt: skip
        self.rows.append((flow.name, verdict, "as promised" if good else "BROKEN", seconds))
        if not good:
            self.broken.append(title)

    def expect_silence(self) -> None:
        """Check that nobody answers where the source was."""
        from qdrant_dr.cluster import Node, collection_names
        from qdrant_dr.errors import NodeUnreachable

        try:
            with Node(self.source.url) as node:
                collection_names(node)
        except NodeUnreachable:
            return
        self.broken.append("the source still answers")

    def expect_all(self, before: Memory, after: Memory) -> None:
        """Check that everything the source held is there: points counted, ids and payloads read
        once more."""
        wrong = before.missing(after)
        for line in wrong:
            say(f"    {line}")
        say(f"    after the disaster: {after.words}")
        if not wrong:
            say(
                "    the same counts, ids, payloads and aliases as before; every vector by its seal"
            )
        self.broken += wrong

    def expect_aliases(self, aliases: tuple[str, ...]) -> None:
        """Check that the aliases lead to the collection that was restored last."""
        from qdrant_dr.cluster import Node, target_facts

        with Node(self.target) as node:
            found = target_facts(node).aliases
        for alias in aliases:
            say(f"    alias {alias} leads to {found.get(alias, 'nothing')}")
            if found.get(alias) != AGAIN:
                self.broken.append(f"the alias {alias} was not moved")

    def summary(self, seconds: float) -> None:
        """Print the table, what was protected, and where to read on."""
        say(f"\n{'step':<12}{'verdict':<12}{'':<14}{'seconds':>8}")
        for name, verdict, judged, took in self.rows:
            say(f"{name:<12}{verdict:<12}{judged:<14}{took:>8.1f}")
        page = next(iter(sorted((HOME / "report").rglob("*.html"))), None)
        say()
        say(protected(self.config) + f"; {sum(self.drilled)} of {len(self.drilled)} drills passed")
        say(f"the report: {shown(page) if page else 'none'}")
        say(f"look around: .venv/bin/qdrant-dr -c {shown(Path(self.config))} list")
        say(f"{'all as promised' if not self.broken else 'BROKEN: ' + '; '.join(self.broken)}"
            f", {seconds:.0f} s in all")  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotStarted as e:
        sys.exit(f"error: {e}")
