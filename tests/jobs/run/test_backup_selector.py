"""Which backup a selector means, and what it says when it means none or several."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qdrant_dr.config import Proven
from qdrant_dr.errors import BackupNotFound, UsageError
from qdrant_dr.jobs.run.backup_selector import doubted_before, select, skipped, split
from tests.support.records import NOW, acceptance, catalog, hours, manifest, proof, seal

OLD = manifest("movies", NOW - hours(30))
NEW = manifest("movies", NOW - hours(2))
FUTURE = manifest("movies", NOW + hours(5))
OTHER = manifest("us@rs", NOW - hours(1))
HELD = [OLD, NEW, FUTURE, OTHER]
KNOWN = catalog({"aws": HELD, "gcp": HELD}, proofs=[proof(OLD)])


def chosen(selector: str, **proven: object) -> str:
    found = select(selector, KNOWN, proven=Proven(**proven), now=NOW)  # type: ignore[arg-type]
    return found.key.backup_id


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        ("movies@latest", NEW),  # not the one dated in the future
        ("movies@latest-proven", OLD),
        (f"movies@{OLD.backup_id}", OLD),
        (f"movies@{OLD.backup_id[:11]}", OLD),
        (f"movies@{FUTURE.backup_id[:13]}", FUTURE),  # by name even so
        ("us@rs@latest", OTHER),
    ],
)
def test_a_selector_chooses_the_backup_that_is_meant(selector: str, meant: object) -> None:
    assert chosen(selector) == meant.backup_id  # type: ignore[attr-defined]


def test_several_are_listed() -> None:
    with pytest.raises(UsageError, match="may be 3 backups") as caught:
        chosen("movies@2026")
    assert all(str(m.key) in caught.value.message for m in (OLD, NEW, FUTURE))


def test_an_old_proof_proves_nothing() -> None:
    with pytest.raises(BackupNotFound, match="none of 3 backups of 'movies' is proven") as caught:
        chosen("movies@latest-proven", max_age=timedelta(hours=1))
    assert "qdrant-dr verify movies@" in caught.value.hint


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(BackupNotFound) as caught:
        chosen("movie@latest")
    assert "did you mean movies@latest?" in caught.value.hint


def test_an_id_prefix_that_matches_nothing() -> None:
    with pytest.raises(BackupNotFound, match="begins with 1999"):
        chosen("movies@1999")


def test_a_repository_that_could_not_be_read_is_named() -> None:
    known = catalog({"aws": HELD, "gcp": []}, unreachable=["aws"])
    with pytest.raises(BackupNotFound, match=r"\(aws could not be read\)"):
        select("movies@latest", known, proven=Proven(), now=NOW)


@pytest.mark.parametrize("selector", ["movies", "@latest", "", "movies@"])
def test_what_is_no_selector(selector: str) -> None:
    with pytest.raises(UsageError):
        split(selector)


def test_the_nearest_word_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        split("movies@latest-prooven")
    assert caught.value.hint == "write movies@latest-proven."


def test_what_the_newest_proven_one_left_out_is_told() -> None:
    chosen_one = select("movies@latest-proven", KNOWN, proven=Proven(), now=NOW)
    (said,) = skipped(chosen_one, KNOWN, proven=Proven(), now=NOW)
    assert f"skipped {FUTURE.key} and 1 more" in said
    assert "dated in the future" in said
    held = catalog({"aws": [OLD, NEW]}, proofs=[proof(OLD)])
    (said,) = skipped(held.backups[0], held, proven=Proven(), now=NOW)
    assert said == f"skipped {NEW.key}, newer than {OLD.key}: it is not proven to content"
    assert skipped(held.backups[1], held, proven=Proven(), now=NOW) == ()


def test_what_lies_behind_a_backup_is_told_until_it_is_accepted() -> None:
    every = [manifest("movies", NOW - hours(n)) for n in (40, 30, 20, 10)]
    reasons = {every[1].backup_id: ("half is gone",)}
    seals = {m.backup_id: seal(m, suspect=reasons.get(m.backup_id, ())) for m in every}
    known = catalog({"aws": every}, seals=seals.values())
    first, doubtful, after, last = known.backups
    assert doubted_before(first, known, ()) == doubted_before(doubtful, known, ()) == ()
    (said,) = doubted_before(last, known, ())
    assert f"follows {doubtful.key}, which is suspect (half is gone)" in said
    assert said.endswith(f"the last before it is {first.key}")
    accepted = acceptance(after.manifest, seals[after.key.backup_id])
    assert doubted_before(last, known, [accepted]) == ()
    assert doubted_before(doubtful, known, [accepted]) == ()
