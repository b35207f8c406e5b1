"""Verify the evidence of one or several repositories: every check, in one pass over each ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qdrant_dr import layout
from qdrant_dr.errors import ObjectMissing, RecordError
from qdrant_dr.evidence.absences import explain
from qdrant_dr.evidence.anchors import Anchor, heads_in, judge_anchors, judge_others
from qdrant_dr.evidence.back_dating import judge_times
from qdrant_dr.evidence.chain import Chain
from qdrant_dr.evidence.check import STATES, Check, State, some, worst
from qdrant_dr.evidence.contents import judge_unnamed, read_contents
from qdrant_dr.evidence.ledger_reader import Reader, list_ledger, read_lines
from qdrant_dr.evidence.named import Names
from qdrant_dr.evidence.overwritten import find_overwritten
from qdrant_dr.evidence.signatures import Signatures
from qdrant_dr.evidence.time_stamps import TimeStamps
from qdrant_dr.evidence.trust import Keys, Trust
from qdrant_dr.location_key import one_place
from qdrant_dr.records import Location
from qdrant_dr.records.repository import RepositoryRecord


@dataclass(frozen=True, slots=True)
class Source:
    """A repository to look at: where it is read from, and what is known of it beforehand."""

    name: str
    where: str
    reader: Reader
    location: Location | None = None
    """Where it lies, unless this is a copy of its files."""
    id: str | None = None
    """Its configured id."""
    checks: tuple[Check, ...] = ()
    """What was found before it was read, such as of the bundle that holds it."""
    left_out: tuple[str, ...] = ()
    """Folders that a bundle has not, on purpose: what lay there is not looked for."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A repository that was read: what its own files show, and what they say of others."""

    source: Source
    repository_id: str | None
    checks: tuple[Check, ...]
    chain: Chain
    heads: Mapping[str, Sequence[Anchor]] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst of all checks."""
        return worst(self.checks)


def examine(source: Source, trust: Trust | None, *, records: bool = True) -> Examined:
    """Read one repository to its end. Without `records` only its ledger: it is but a witness."""
    reader = source.reader
    files = list_ledger(reader)
    chain, names, stamps = Chain(), Names(), TimeStamps()
    signatures, keys = Signatures(asked=trust is not None), Keys(trust)
    heads: dict[str, list[Anchor]] = {}
    for line in read_lines(reader, files):
        chain.add(line)
        if records:
            names.add(line)
        signatures.add(line.number, keys.judge(line))
        stamps.add(line)
        if line.entry is not None:
            for other, anchor in heads_in(line.entry, source.name):
                heads.setdefault(other, []).append(anchor)
    repository_id, identity = _identity(source, chain)
    checks = [*source.checks, identity, chain.check()]
    if chain.head is not None:
        versions = find_overwritten(reader, chain.kept_from) if records else None
        checks += [] if versions is None else [versions.check()]
        checks += [signatures.check(), signatures.tail()]
        checks += _judge_records(source, names, chain) if records else ()
        more = (stamps.check(), judge_others(heads), _judge_strangers(files.strangers))
        checks += [c for c in more if c is not None]
    believed = STATES.index(worst(checks)) < STATES.index("failed" if trust is None else "doubt")
    seen = {i: [replace(a, believed=believed) for a in heads[i]] for i in heads}
    return Examined(source, repository_id, tuple(checks), chain, seen)


def cross_check(
    examined: Sequence[Examined],
    witnesses: Sequence[Examined] = (),
    noted: Sequence[Anchor] = (),
) -> list[Examined]:
    """Compare every ledger with what all the others, and a person, saw of it."""
    everyone = [*examined, *witnesses]
    return [_compared(one, [w for w in everyone if w is not one], noted) for one in examined]


def _compared(one: Examined, others: Sequence[Examined], noted: Sequence[Anchor]) -> Examined:
    anchors = list(noted)
    # nobody is their own witness; all repositories of a bundle lie in one place
    itself = (one.repository_id, one.source.where)
    others = [o for o in others if (o.repository_id, o.source.where) != itself]
    for other in others:
        if other.repository_id == one.repository_id:  # another copy of the same repository
            anchors += _head_of(other)
        else:
            anchors += _seen_of(one, other)
    head = one.chain.head
    known = sum(o.repository_id != one.repository_id for o in others)
    checks = [judge_anchors(one.chain.hashes, head[0] if head else 0, anchors, known=known)]
    if head is not None:
        checks.append(judge_times(one.chain.links, anchors))
    return replace(one, checks=(*one.checks, *checks))


def _seen_of(one: Examined, other: Examined) -> Iterable[Anchor]:
    """What another ledger saw of this one, and of those that it was before it was adopted."""
    yield from other.heads.get(one.repository_id or "", ())
    for former, until in one.chain.adopted:
        yield from (a for a in other.heads.get(former, ()) if a.number < until)


def _head_of(other: Examined) -> Iterable[Anchor]:
    if other.chain.head is not None:
        number, sha256 = other.chain.head
        yield Anchor(number, sha256, f"{other.source.name}, another copy,", None)


def _identity(source: Source, chain: Chain) -> tuple[str | None, Check]:
    """Whether the repository is the one that its ledger, and the configuration, speak of."""
    try:
        data = source.reader.read(layout.REPOSITORY)
        here = RepositoryRecord.from_bytes(data, where=layout.REPOSITORY).id
    except (ObjectMissing, RecordError) as e:
        return chain.repository_id, Check(
            "repository",
            "failed",
            e.message,
            "by hand: name the folder that holds repository.json, or copy the repository whole.",
        )
    of = chain.repository_id or here
    wrong = []
    if here != of:
        wrong.append(f"{layout.REPOSITORY} says {here}, its ledger is of repository {of}")
    if source.id not in (None, here):
        wrong.append(f"the configuration says {source.id}, {layout.REPOSITORY} says {here}")
    if wrong:
        return of, Check("repository", "failed", "; ".join(wrong), _SWAPPED)
    if chain.location is None:
        return of, Check("repository", "ok", f"{here} at {source.where}")
    if source.location is None:
        said = f"{here}, a copy of {chain.location} by what its ledger says"
        return of, Check("repository", "ok", said)
    if not one_place(source.location, chain.location):
        return of, Check(
            "repository",
            "doubt",
            f"{here} is read at {source.location}, its ledger was written at {chain.location}: "
            "copied, moved or swapped with another one",
            _SWAPPED,
        )
    return of, Check("repository", "ok", f"{here} at {source.location}, as its ledger says")


def _judge_records(source: Source, names: Names, chain: Chain) -> Iterator[Check]:
    reader = source.reader
    present = {s.path: s.size_bytes for s in reader.find("") if layout.in_ledger(s.path)}
    contents = read_contents(reader, names.records, present)
    yield contents.check(len(names.records))
    absences = explain(
        names.records, present.keys(), contents.standing(), names.removed, source.left_out
    )
    yield absences.check(source.left_out)
    if chain.links:
        yield judge_unnamed(present, names, chain.links[-1].at)
    yield names.late()


def _judge_strangers(paths: Sequence[str]) -> Check | None:
    if not paths:
        return None
    return Check(
        "strangers",
        "doubt",
        f"{some(paths, 'file')} below evidence/ that no ledger has",
        "by hand: find out who put it there.",
    )


_SWAPPED = (
    "by hand: compare `url` and `id` in the configuration with what `qdrant-dr repository show "
    "NAME` prints; a copy that is to live on is adopted: `qdrant-dr repository adopt NAME`."
)
