"""Who names a backup: whatever is lost, nothing that is named is swept; whatever is planted in one
repository, nothing true expires because of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.config import Proven
from qdrant_dr.errors import RepositoryUnreachable
from qdrant_dr.layout import in_backup, intent_file, run_end
from qdrant_dr.records import BackupKey, Deleted, Manifest, Outcome, Proof, RunEnd
from qdrant_dr.records.holds import Expired
from qdrant_dr.repository import Catalog, RepositoryState, plan_expire, plan_sweep
from qdrant_dr.repository.assemble import Reading, assemble
from qdrant_dr.repository.catalog import Backup
from qdrant_dr.repository.lost_backups import LONGEST_RUN, in_doubt, runs_missed
from qdrant_dr.repository.reading import _look_again as look_again
from qdrant_dr.repository.retention import Policy
from qdrant_dr.stores.base import Stat
from tests.support import records as made
from tests.support.records import NOW, days, hours
from tests.support.thorough import examples
from tests.support.vaults import backed_up, vault_on_disk

PLACES = ("aws", "gcp", "azure")
BEFORE = NOW - days(400)
"""When the first run was told to every repository."""


def stat(path: str, size: int = 100) -> Stat:
    return Stat(path, size, NOW - days(30))


class Place:
    """What one repository holds, record by record."""

    def __init__(self, name: str) -> None:
        state = made.state(name)
        self.reading = Reading(state, first_run=BEFORE)

    @property
    def name(self) -> str:
        return self.reading.repository.name

    def file(self, key: BackupKey, file: str, size: int = 100) -> None:
        files = self.reading.files.setdefault(key.folder, {})
        files[file] = stat(in_backup(key, file), size)

    def backup(self, of: Manifest) -> None:
        """Parts, create call, manifest and seal."""
        self.file(of.key, intent_file())
        for part in of.parts:
            self.file(of.key, part.file, part.size_bytes)
        self.file(of.key, "manifest.json")
        self.reading.manifests[of.key.folder] = of
        self.file(of.key, "seal.json")
        self.reading.seals[of.key.folder] = made.seal(of)

    def proof(self, of: Manifest, **fields: Any) -> Proof:
        proof = made.proof(of, self.name, **{"made_by": "backup", **fields})
        self.reading.proofs.setdefault(of.key.folder, []).append(proof)
        return proof

    def run(self, end: RunEnd) -> None:
        self.reading.ends[run_end(end.start.run_id, end.start.started_at)] = end
        run = end.start.run_id
        self.reading.runs |= {f"{run}.start.json", f"{run}.end.json"}

    def lose(self, what: str, folder: str) -> None:
        """One kind of record of one backup is gone."""
        reading = self.reading
        files = reading.files.get(folder, {})
        if what == "folder":
            reading.files.pop(folder, None)
        elif what in ("manifest", "seal"):
            files.pop(f"{what}.json", None)
        elif what == "parts":
            for file in [f for f in files if f.endswith(".snapshot")]:
                del files[file]
        elif what == "proofs":
            reading.proofs.pop(folder, None)
        elif what == "runs":
            backup_id = folder.rpartition("/")[2]
            reading.ends = {
                path: end
                for path, end in reading.ends.items()
                if not any(o.backup_id == backup_id for o in end.outcomes)
            }
        files = reading.files.get(folder, {})
        if "manifest.json" not in files:
            reading.manifests.pop(folder, None)
        if "seal.json" not in files:
            reading.seals.pop(folder, None)


LOSSES = ("folder", "manifest", "seal", "parts", "proofs", "runs")


def end_of(of: Manifest, *places: str, old: bool = False, **fields: Any) -> RunEnd:
    """The run that made it, in these repositories; an old one says no digest."""
    outcome = made.captured(of, *places)
    assert outcome.detail is not None
    digest = {} if old else {"manifest_sha256": of.sha256}
    outcome = outcome.model_copy(update={"detail": outcome.detail.model_copy(update=digest)})
    start = made.run_start(at=of.captured_at - timedelta(minutes=1), run_id=of.run_id)
    seen = tuple(made.repository(name) for name in PLACES)
    return made.run_end(start, **{"outcomes": (outcome,), "repositories": seen, **fields})


def healthy(backups: Iterable[Manifest], names: Sequence[str] = PLACES) -> list[Place]:
    """Every backup in every repository, proven, its run on record."""
    places = [Place(name) for name in names]
    for of in backups:
        for place in places:
            place.backup(of)
            place.proof(of)
            place.run(end_of(of, *names))
    return places


def catalog(places: Iterable[Place]) -> Catalog:
    return assemble(made.CLUSTER, [p.reading for p in places])


def daily(count: int, **fields: Any) -> list[Manifest]:
    return [made.manifest(at=NOW - days(n) - hours(3), **fields) for n in range(count)]


def tombstone(of: Manifest, **fields: Any) -> Expired:
    return Expired(
        **{
            "backup_id": of.backup_id,
            "cluster": of.cluster,
            "collection": of.collection,
            "incarnation": of.incarnation,
            "run_id": "20261120T101530Z-7f3a9c",
            "decided_at": NOW,
            "reason": "none keeps it",
            "captured_at": of.captured_at,
            "size_bytes": of.size_bytes,
            "points": 2000,
            "manifest_sha256": of.sha256,
            "seal_sha256": None,
            **fields,
        }
    )


# what is missed


def test_a_healthy_catalog_misses_nothing_and_asks_no_run() -> None:
    places = healthy(daily(3))
    found = catalog(places)
    assert found.lost == ()
    assert found.unwitnessed(NOW) == ()
    assert in_doubt(made.CLUSTER, [p.reading for p in places]) == ()


@pytest.mark.parametrize(
    ("what", "left"),
    [
        *(("manifest", left) for left in [("seal", "proofs", "runs"), ("seal",)]),
        *((what, (left,)) for what in ("manifest", "folder") for left in ("proofs", "runs")),
    ],
)
def test_what_is_gone_everywhere_is_missed_as_long_as_anything_names_it(
    what: str, left: tuple[str, ...]
) -> None:
    of = daily(1)[0]
    places = healthy([of])
    for place in places:
        place.lose(what, of.key.folder)
        for gone in {"seal", "proofs", "runs"} - set(left):
            place.lose(gone, of.key.folder)
    (lost,) = catalog(places).lost
    assert lost.key == of.key
    assert lost.repositories == PLACES
    assert lost.manifest_sha256 == of.sha256
    assert {w.kind for w in lost.words} <= {"seal", "proof", "run", "call"}


def test_one_witness_in_one_repository_is_enough() -> None:
    of = daily(1)[0]
    places = healthy([of])
    for n, place in enumerate(places):
        for what in LOSSES:
            if (n, what) != (2, "proofs"):
                place.lose(what, of.key.folder)
    (lost,) = catalog(places).lost
    assert (lost.repositories, lost.files, lost.size_bytes) == (("azure",), {}, 0)


def test_an_older_run_names_a_backup_without_its_digest() -> None:
    of = daily(1)[0]
    places = [Place(name) for name in PLACES]
    for place in places:
        place.run(end_of(of, "aws", "gcp", old=True))
    (lost,) = catalog(places).lost
    assert lost.repositories == ("aws", "gcp")
    assert lost.manifest_sha256 is None


def test_a_repository_that_got_another_name_is_told_by_its_id() -> None:
    of = daily(1)[0]
    place = Place("aws")
    state = place.reading.repository
    place.reading.repository = RepositoryState("new", state.id, state.domain, state.location)
    place.run(end_of(of, "aws"))
    (lost,) = catalog([place]).lost
    assert lost.repositories == ("new",)


def test_what_lay_only_in_a_repository_that_is_not_configured_any_more_is_not_missed() -> None:
    of = daily(1)[0]
    place = Place("aws")
    place.run(end_of(of, "gcp"))
    assert catalog([place]).lost == ()


def test_what_may_lie_in_a_repository_that_is_away_is_not_lost_yet() -> None:
    of = daily(1)[0]
    places = healthy([of], ("aws", "gcp"))
    places[0].lose("manifest", of.key.folder)
    away = Reading(made.state("gcp", RepositoryUnreachable("no answer")))
    found = assemble(made.CLUSTER, [places[0].reading, away])
    assert found.lost == ()  # that repository is a finding of its own, and nothing is swept
    assert plan_sweep(found, "aws", store_now=NOW).refused


# what explains a loss


def test_a_deletion_on_record_explains_a_loss_and_another_one_does_not() -> None:
    of = daily(1)[0]
    for record, explained in (
        (tombstone(of), True),
        (tombstone(of, manifest_sha256="0" * 64), False),
    ):
        places = healthy([of], ("aws",))
        places[0].lose("folder", of.key.folder)
        places[0].reading.tombstones[of.key.folder] = [record]
        found = catalog(places)
        assert (found.lost == ()) is explained
        assert (found.unreadable == ()) is explained


def test_a_deletion_in_one_repository_explains_nothing_in_another() -> None:
    of = daily(1)[0]
    places = healthy([of], ("aws", "gcp"))
    for place in places:
        place.lose("folder", of.key.folder)
    places[0].reading.tombstones[of.key.folder] = [tombstone(of)]
    (lost,) = catalog(places).lost
    assert (lost.repositories, lost.kept_less) == (("gcp",), True)


def test_a_deletion_that_a_run_tells_of_is_one_though_its_own_record_is_gone() -> None:
    of = daily(1)[0]
    places = healthy([of], ("aws", "gcp"))
    for place in places:
        place.lose("folder", of.key.folder)
    gone = Deleted(reason="no rule keeps it", captured_at=of.captured_at, freed_bytes=1,
                   hidden_bytes=0)  # fmt: skip
    outcomes = tuple(
        Outcome(
            unit="expire", collection="movies", repository=name, backup_id=of.backup_id,
            verdict="ok", started_at=NOW, ended_at=NOW, detail=gone,
        )
        for name in ("aws", "gcp")
    )  # fmt: skip
    seen = tuple(made.repository(n) for n in ("aws", "gcp"))
    places[0].run(
        made.run_end(made.run_start("expire", NOW - hours(1)), outcomes=outcomes, repositories=seen)
    )
    assert catalog(places).lost == ()
    assert [c.state for b in catalog(places).backups for c in b.copies] == []


# who made it


def planted(at: Any = NOW - hours(1), **fields: Any) -> Manifest:
    return made.manifest(at=at, **{"note": "not ours", **fields})


def witness_of(places: Iterable[Place], of: Manifest) -> str:
    backup = catalog(places).find(of.key)
    assert backup is not None
    return backup.witness


def test_what_one_repository_alone_tells_of_nobody_made() -> None:
    of, places = planted(), healthy(daily(2))
    places[0].backup(of)
    places[0].proof(of)
    places[0].run(end_of(of, *PLACES))
    assert witness_of(places, of) == "nobody"
    assert [b.key for b in catalog(places).unwitnessed(NOW)] == [of.key]
    for place in places:  # as before any list of runs was read
        place.reading.first_run = None
    assert [d.folder for d in in_doubt(made.CLUSTER, [p.reading for p in places])] == [
        of.key.folder
    ]


@pytest.mark.parametrize("who", ["run", "old run", "proof", "call", "tombstone", "manifest"])
def test_one_record_in_another_repository_is_a_witness(who: str) -> None:
    of, places = planted(), healthy(daily(2))
    places[0].backup(of)
    if who == "run":
        places[1].run(end_of(of, "aws"))
    elif who == "old run":
        places[1].run(end_of(of, "aws", old=True))
    elif who == "proof":
        places[1].proof(of, made_by="verify")
    elif who == "call":  # killed between two manifests
        places[1].file(of.key, intent_file())
    elif who == "tombstone":
        places[1].reading.tombstones[of.key.folder] = [tombstone(of)]
    else:
        places[1].backup(of)
    assert witness_of(places, of) == "named"


def test_a_witness_of_another_manifest_is_none() -> None:
    of, other, places = planted(), planted(note="the true one"), healthy(daily(2))
    assert of.key == other.key
    places[0].backup(of)
    places[1].proof(other)
    places[1].run(end_of(other, "aws"))
    assert witness_of(places, of) == "nobody"


def test_while_its_run_has_no_end_nothing_is_said_of_it() -> None:
    of, places = planted(), healthy(daily(2))
    places[0].backup(of)
    places[1].reading.runs |= {f"{of.run_id}.start.json"}
    assert witness_of(places, of) == "awaited"
    assert catalog(places).unwitnessed(NOW) == ()
    assert [b.key for b in catalog(places).unwitnessed(NOW + LONGEST_RUN)] == [of.key]


@pytest.mark.parametrize("told", [None, NOW - hours(0.5)])
def test_a_repository_that_is_new_or_was_emptied_could_not_tell(told: Any) -> None:
    of, places = planted(), healthy([], ("aws", "gcp"))
    places[0].backup(of)
    places[0].proof(of)
    places[1].reading.first_run = told
    assert witness_of(places, of) == "named"


def test_the_only_repository_tells_by_its_own_runs() -> None:
    of, places = planted(), healthy(daily(1), ("aws",))
    places[0].backup(of)
    places[0].proof(of, made_by="verify")
    assert witness_of(places, of) == "nobody"
    places[0].run(end_of(of, "aws"))
    assert witness_of(places, of) == "named"


def test_nobody_is_suspected_while_a_repository_is_away_that_may_know() -> None:
    of, places = planted(), healthy(daily(1), ("aws",))
    places[0].backup(of)
    away = Reading(made.state("gcp", RepositoryUnreachable("no answer")))
    found = assemble(made.CLUSTER, [places[0].reading, away])
    assert found.find(of.key).witness == "nobody"  # type: ignore[union-attr]
    assert found.unwitnessed(NOW) == ()


# run records that are gone


def missed(places: Sequence[Place], now: Any = NOW) -> dict[str, tuple[int, int]]:
    recorded = {p.name: {e.start.run_id for e in p.reading.ends.values()} for p in places}
    ends = {p.name: tuple(p.reading.ends.values()) for p in places}
    return runs_missed(recorded, ends, catalog(places), now=now)


def test_run_records_that_are_gone_from_one_repository_are_missed() -> None:
    places = healthy(daily(5))
    assert missed(places) == {}
    places[1].reading.ends.clear()
    assert missed(places) == {"gcp": (5, 5)}
    # old ones go by a lifecycle rule, and one is missing when a repository was away for it
    places = healthy(daily(5))
    places[1].lose("runs", daily(5)[2].key.folder)
    assert missed(places) == {}
    assert missed(places, NOW + days(30)) == {}


def test_proofs_alone_name_the_runs_of_the_only_repository() -> None:
    places = healthy(daily(3), ("aws",))
    places[0].reading.ends.clear()
    assert missed(places) == {"aws": (3, 3)}


# laws

BACKUPS = daily(3)
LOST = st.sets(
    st.tuples(st.sampled_from(LOSSES), st.integers(0, len(BACKUPS) - 1)), min_size=1, max_size=8
)


@given(lost=LOST, where=st.integers(0, 2), also=LOST, count=st.integers(1, 3))
@settings(max_examples=examples(150), deadline=None)
def test_whatever_is_lost_no_sweep_takes_what_a_record_names(
    lost: set[tuple[str, int]], where: int, also: set[tuple[str, int]], count: int
) -> None:
    places = healthy(BACKUPS, PLACES[:count])
    for place, losses in ((places[where % count], lost), (places[0], also)):
        for what, n in sorted(losses):
            place.lose(what, BACKUPS[n].key.folder)
    found = catalog(places)
    named = {
        folder
        for p in places
        for folder in (*p.reading.manifests, *p.reading.seals, *p.reading.proofs)
    }
    told = {o.backup_id for p in places for e in p.reading.ends.values() for o in e.outcomes}
    for place in places:
        plan = plan_sweep(found, place.name, store_now=NOW + days(365))
        swept = {u.folder for u in plan.folders}
        assert not swept & named
        assert not {f.rpartition("/")[2] for f in swept} & told
    # and what every record of is gone is the only thing that nobody misses
    there = {b.key for b in found.backups} | {g.key for g in found.lost}
    assert {b.key for b in BACKUPS if b.key.folder in named or b.backup_id in told} <= there


def rules(**fields: Any) -> Policy:
    nothing = {"last": 0, "daily": 0, "weekly": 0, "monthly": 0, "floor": 1, "share": 1.0}
    return Policy(**{**nothing, "grace": timedelta(0), "timezone": UTC, **fields})


PLANTED = st.lists(
    st.tuples(
        st.integers(-48, 30 * 24),  # hours before now
        st.booleans(),  # of the life that goes on, or of another one
        st.sets(st.sampled_from(["proof", "run", "start", "tombstone"])),
    ),
    min_size=1, max_size=6, unique_by=lambda p: p[0],
)  # fmt: skip
COUNTS = st.fixed_dictionaries(
    {"last": st.integers(0, 3), "daily": st.integers(0, 4), "weekly": st.integers(0, 2),
     "floor": st.integers(1, 3)}
)  # fmt: skip


@given(plants=PLANTED, counts=COUNTS, where=st.integers(0, 1), history=st.integers(2, 6))
@settings(max_examples=examples(150), deadline=None)
def test_whatever_is_planted_in_one_repository_no_true_backup_goes_for_it(
    plants: list[tuple[int, bool, set[str]]], counts: dict[str, int], where: int, history: int
) -> None:
    true = daily(history)

    def goes(of: Catalog, share: float) -> set[tuple[str, BackupKey]]:
        plan = plan_expire(
            of, lambda _r, _c: rules(**counts, share=share), proven=Proven(), holds=(), now=NOW
        )
        assert plan.refused is None
        return {(e.repository, e.key) for e in plan.goes}

    places = healthy(true, ("aws", "gcp"))
    would_go = goes(catalog(places), 1.0)
    for before, same, records in plants:
        life = {} if same else {"incarnation": "another0"}
        of = planted(NOW - hours(before) - timedelta(minutes=7), **life)
        places[where].backup(of)
        if "proof" in records:
            places[where].proof(of)
        if "run" in records:
            places[where].run(end_of(of, "aws", "gcp"))
        if "start" in records:
            places[where].reading.runs |= {f"{of.run_id}.start.json"}
        if "tombstone" in records:
            places[where].reading.tombstones[of.key.folder] = [tombstone(of)]
    found = catalog(places)
    keys = {m.key for m in true}
    for share in (1.0, 0.2):
        assert {g for g in goes(found, share) if g[1] in keys} <= would_go
    assert all(_only_in(b, places[where].name) for b in found.backups if b.key not in keys)


def _only_in(backup: Backup, name: str) -> bool:
    return backup.witness != "named" and not any(
        c.committed for c in backup.copies if c.repository != name
    )


def test_what_runs_tell_of_others_is_not_missed_where_one_collection_was_read() -> None:
    """Ends of runs name every collection; the others' folders were not looked at."""
    movies, users = made.manifest("movies"), made.manifest("users")
    places = healthy([movies], PLACES)
    for place in places:
        place.run(end_of(users, *PLACES))
    assert [g.key for g in catalog(places).lost] == [users.key], "looked at whole, it is gone"
    for place in places:
        place.reading.scope = movies.key.folder.rpartition("/")[0] + "/"
    read = catalog(places)
    assert read.lost == ()
    assert [b.key for b in read.backups] == [movies.key]
    for place in places:
        place.lose("manifest", movies.key.folder)
    assert [g.key for g in catalog(places).lost] == [movies.key], "its own loss is told"


def test_a_second_look_forgets_what_the_first_one_missed(tmp_path: Path) -> None:
    """A pack was not listed yet when its recipe was read."""
    vault = vault_on_disk(tmp_path / "vault")
    of = backed_up(vault, numbers=range(2), at=NOW - hours(2))
    state = RepositoryState("vault", vault.id, "d", vault.location, layout="chunked")
    read = Reading(state)
    read.lacking[of.key.folder] = {of.parts[0].file}
    look_again(vault, read, [of.key])
    assert read.lacking == {}
    (backup,) = assemble(of.cluster, [read]).backups
    assert backup.copy("vault").state == "present"
