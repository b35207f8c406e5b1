"""`make demo`: the whole promise, on a sandbox or on your server, in about two minutes.

Back up -> verify -> drill into an empty server -> rot one copy -> verify finds it -> replicate
heals it -> all is gone: restore for real into an empty server, move the aliases -> report. Run as
flows on a Prefect server of its own; everything lies below `.demo/`.
`QDRANT_URL` (and `QDRANT_API_KEY`) take your server instead of the sandbox, up to `DEMO_MAX`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.private_server import isolate, private_server

if TYPE_CHECKING:
    from prefect import Flow

HOME = Path(os.environ.get("DEMO_HOME", ".demo")).resolve()
POINTS = int(os.environ.get("DEMO_POINTS", "3000"))
REPOSITORIES = ("aws", "gcp", "onprem")
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
"""
REPOSITORY = """\
  - {{name: {name}, {id}url: "{home}/repositories/{name}", domain: demo-{name}}}
"""


def main() -> int:
    """Run the demo; 0 if everything went as promised."""
    began = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)  # a demo of before must not decorate this one
    isolate(HOME / "prefect")
    with ExitStack() as stack:
        say("qdrant-dr demo: every step below is a real flow run, on data that is really read back")
        source = stack.enter_context(source_server())
        scratch = stack.enter_context(server("scratch"))
        ui = stack.enter_context(private_server(HOME / "prefect"))
        config = configure(source, scratch)
        story = Story(str(config), scratch)
        story.tell()
        story.summary(ui, time.monotonic() - began)
    return 1 if story.broken else 0


def say(text: str = "", *, end: str = "\n") -> None:
    """To the person watching, at once."""
    print(text, end=end, flush=True)


@contextmanager
def server(name: str) -> Iterator[str]:
    """An empty server on loopback: `$QDRANT_BIN` where there is one, else the sandbox."""
    from qdrant_dr.jobs.targets import child_server

    with child_server(HOME / name) as url:
        yield url


@contextmanager
def source_server() -> Iterator[str]:
    """The server to protect: yours (`QDRANT_URL`), after a look at what it would cost, or ours."""
    if url := os.environ.get("QDRANT_URL"):
        consent(url)
        yield url.rstrip("/")
        return
    from qdrant_dr.sandbox.seed import seed_demo

    with server("source") as url:
        say(f"  a small server at {url}, filled with {POINTS} points per collection")
        seed_demo(url, points=POINTS)
        yield url


def consent(url: str) -> None:
    """Print what would be read from the user's server, and stop if it is too much."""
    from qdrant_dr.cluster import Node, estimated_bytes, take_inventory
    from qdrant_dr.config import ClusterConfig
    from qdrant_dr.units import format_size, parse_size

    key = "env:QDRANT_API_KEY" if os.environ.get("QDRANT_API_KEY") else None
    found = take_inventory(ClusterConfig(name="demo", nodes=(url,), api_key=key)).collections
    with Node(url, key) as node:
        sizes = {f.collection: estimated_bytes(node, f) for f in found}
    if unknown := [name for name, size in sizes.items() if size is None]:
        raise SystemExit(f"the size of {', '.join(unknown)} cannot be estimated on this server.")
    limit = parse_size(os.environ.get("DEMO_MAX", "2GiB"))
    total = sum(size or 0 for size in sizes.values())
    say(f"  the plan, on {url} (it makes and deletes one snapshot per collection, nothing else):")
    for name, size in sizes.items():
        say(f"    {name}: at most {format_size(size or 0)}, three copies below {HOME}")
    if total > limit:
        raise SystemExit(
            f"that may be {format_size(total)}; the demo stops at {format_size(limit)}. "
            "set DEMO_MAX to a larger size to go on."
        )


def configure(source: str, scratch: str) -> Path:
    """Write the configuration and make the three repositories."""
    from datetime import UTC, datetime

    from qdrant_dr.config import RepositoryConfig
    from qdrant_dr.repository import create_repository

    ids = {}
    for name in REPOSITORIES:
        place = HOME / "repositories" / name
        place.mkdir(parents=True)
        made = RepositoryConfig(name=name, url=str(place), domain=f"demo-{name}")
        ids[name] = create_repository(made, datetime.now(UTC))
    path = HOME / "qdrant-dr.yaml"
    keyed = bool(os.environ.get("QDRANT_URL") and os.environ.get("QDRANT_API_KEY"))
    path.write_text(
        CONFIG.format(
            source=source,
            scratch=scratch,
            home=HOME,
            keys="  api_key: env:QDRANT_API_KEY\n" if keyed else "",
            repositories="".join(
                REPOSITORY.format(name=n, id=f"id: '{ids[n]}', ", home=HOME) for n in REPOSITORIES
            ),
        )
    )
    say(f"  three repositories below {HOME / 'repositories'}, configuration in {path}")
    return path


class Story:
    """The acts, each with what it must end in; anything else breaks the promise."""

    def __init__(self, config: str, scratch: str) -> None:
        self.config = config
        self.scratch = scratch
        self.rows: list[tuple[str, str, str, float]] = []
        self.broken: list[str] = []

    def tell(self) -> None:
        """All acts in order."""
        from flows.backup import backup
        from flows.drill import drill
        from flows.replicate import replicate
        from flows.report import report
        from flows.restore import restore
        from flows.verify import verify

        self.act("back up every collection to three repositories, prove the copies",
                 backup, "ok")  # fmt: skip
        self.act("verify: read every copy back and compare every point", verify, "ok")
        self.act("drill: restore one backup into an empty server, compare, measure",
                 drill, "ok")  # fmt: skip
        say(f"  now one bit of one copy rots: {rot(HOME / 'repositories' / REPOSITORIES[1])}")
        self.act("verify: it must find exactly that copy", verify, "failed", depth="bytes")
        self.act("replicate: heal it from a copy that proves its bytes", replicate, "ok")
        self.act("verify: all is well again", verify, "ok")
        say(f"  and now the disaster: an empty server at {self.scratch} must take over")
        lost = to_bring_back(self.config)
        backup_of = f"{lost.collection}@latest-proven"
        # the configured scratch needs no approval; anything else would pause and ask for it
        self.act("restore: bring a collection back for real, every point proven there",
                 restore, "ok", backup=backup_of, to=self.scratch)  # fmt: skip
        self.act("restore it again beside that under another name, and move its aliases over",
                 restore, "ok", backup=backup_of, to=self.scratch, name=AGAIN,
                 aliases="move")  # fmt: skip
        self.expect_aliases(backup_of, lost.aliases)
        self.act("report: what an auditor gets", report, "ok", also=("degraded",))

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
        say(f"  {flow.name}: {verdict} in {seconds:.1f} s ({state.name})"
            + ("" if good else f"; {expected} was promised: {state.message}"))  # fmt: skip
        self.rows.append((flow.name, verdict, "as promised" if good else "BROKEN", seconds))
        if not good:
            self.broken.append(title)

    def expect_aliases(self, backup_of: str, aliases: Sequence[str]) -> None:
        """What clients ask for must be the collection that was restored last."""
        from qdrant_dr.cluster import Node, target_facts

        with Node(self.scratch) as node:
            found = target_facts(node).aliases
        for alias, name in found.items():
            say(f"    alias {alias} leads to {name}")
        if found != dict.fromkeys(aliases, AGAIN):
            self.broken.append(f"the aliases of {backup_of} were not moved: {found}")

    def summary(self, ui: str, seconds: float) -> None:
        """The table, and where to look."""
        say(f"\n{'step':<12}{'verdict':<12}{'':<14}{'seconds':>8}")
        for name, verdict, judged, took in self.rows:
            say(f"{name:<12}{verdict:<12}{judged:<14}{took:>8.1f}")
        page = next(iter(sorted((HOME / "report").rglob("*.html"))), None)
        say(f"\nthe report: {page}")
        say(f"look around: .venv/bin/qdrant-dr -c {self.config} list")
        say(f"{'all as promised' if not self.broken else 'BROKEN: ' + '; '.join(self.broken)}"
            f", {seconds:.0f} s in all (Prefect's pages were at {ui})")  # fmt: skip


def to_bring_back(config: str) -> Any:
    """The manifest of the collection with most aliases, else of the largest."""
    from qdrant_dr.configfile import load
    from qdrant_dr.jobs.catalogs import catalog_of, open_all

    found = load(config)
    opened, failed = open_all(found)
    manifests = [b.manifest for b in catalog_of(found, opened, failed).backups]
    return max(manifests, key=lambda m: (len(m.aliases), m.size_bytes))


def rot(repository: Path) -> str:
    """Flip one bit in the middle of the largest part of a copy, as a bad disk does."""
    part = max(repository.rglob("*.snapshot"), key=lambda p: (p.stat().st_size, p.name))
    at = part.stat().st_size // 2
    with part.open("r+b") as data:
        data.seek(at)
        byte = data.read(1)[0]
        data.seek(at)
        data.write(bytes([byte ^ 1]))
    return f"{part.relative_to(repository.parent)}, byte {at}"


def newest_end(config: str) -> Any:
    """The end record of the flow run just made, read back from the first repository."""
    from datetime import timedelta

    from qdrant_dr.configfile import load
    from qdrant_dr.jobs.catalogs import open_all
    from qdrant_dr.jobs.run import utc_now

    opened, _ = open_all(load(config))
    now = utc_now()
    for repository in opened.values():
        _, ends = repository.read_runs(now - timedelta(days=1), now)
        if ends.records:
            return max(ends.records, key=lambda e: e.ended_at)
    return None


def details(end: Any) -> Iterator[str]:
    """What happened, in a line per unit that a person wants to see."""
    from qdrant_dr.units import format_size

    for outcome in end.outcomes if end else ():
        found = outcome.detail
        where = f" in {outcome.repository}" if outcome.repository else ""
        what = f"{outcome.collection}{where}"
        if outcome.error:
            yield f"{what}: {outcome.error.code}: {outcome.error.message}"
        elif found is None:
            continue
        elif found.kind == "captured":
            yield (
                f"{what}: {found.points_count} points, {format_size(found.size_bytes)}, copies in "
                + (", ".join(found.committed))
            )
        elif found.kind == "proved":
            points = f", {found.points_checked} points" if found.points_checked is not None else ""
            yield f"{what}: proven to {found.reached}: {format_size(found.bytes_checked)}{points}"
        elif found.kind == "healed":
            yield f"{what}: healed from {found.source}: {format_size(found.size_bytes)}"
        elif found.kind == "restored":
            took = ", ".join(f"{p.name} {p.duration_us / 1e6:.2f} s" for p in found.phases)
            aliases = f"; aliases set: {', '.join(found.aliases_set)}" if found.aliases_set else ""
            yield f"{what} as {found.name}: {found.points_restored} points equal; {took}{aliases}"
        elif found.kind == "drilled":
            took = ", ".join(f"{p.name} {p.duration_us / 1e6:.2f} s" for p in found.phases)
            yield f"{what}: {found.points_restored} points equal; {took}"


if __name__ == "__main__":
    sys.exit(main())
