"""Every path of a repository, there and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr import layout
from qdrant_dr.records import BackupKey
from qdrant_dr.stores.base import MAX_PARTS, PART_FLOOR, part_size

# fmt: off
TIMES = st.datetimes(
    datetime(2000, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001
)
# fmt: on
PATH = re.compile(r"^[A-Za-z0-9./-]+$")


@given(now=TIMES, collection=st.text(min_size=1, max_size=300), file=st.sampled_from(["a.json"]))
def test_a_path_is_safe_short_and_read_back(now: datetime, collection: str, file: str) -> None:
    try:
        collection.encode()
    except UnicodeEncodeError:
        return
    key = BackupKey(cluster="prod", collection=collection, backup_id=layout.new_id(now))
    path = layout.in_backup(key, file)
    assert PATH.match(path)
    assert len(path) < 150
    assert ".." not in path
    at = layout.read_backup_path(path)
    assert at is not None
    assert (at.folder, at.backup_id, at.file) == (key.folder, key.backup_id, file)
    assert path.startswith(layout.backups("prod", collection) + "/")
    assert layout.proof(key, "p").startswith(layout.proofs("prod", collection, key.backup_id) + "/")


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_two_collections_never_share_a_folder(a: str, b: str) -> None:
    same = layout.backups("prod", a) == layout.backups("prod", b)
    assert same == (a == b)


@pytest.mark.parametrize("pair", [("Movies", "movies"), ("a b", "a-b"), ("ä", "ö"), ("x", "x ")])
def test_names_that_a_file_system_would_confuse_are_kept_apart(pair: tuple[str, str]) -> None:
    assert layout.backups("prod", pair[0]) != layout.backups("prod", pair[1])


@given(TIMES, TIMES)
def test_ids_sort_by_their_second(a: datetime, b: datetime) -> None:
    first, second = layout.new_id(a), layout.new_id(b)
    assert layout.time_of(first) == a.replace(microsecond=0)
    if a.replace(microsecond=0) < b.replace(microsecond=0):
        assert first < second


def test_an_id_looks_like_this() -> None:
    now = datetime(2026, 11, 22, 10, 15, 30, 999_999, UTC)
    assert re.match(r"^20261122T101530Z-[0-9a-f]{6}$", layout.new_id(now))
    assert layout.new_id(now) != layout.new_id(now)


@pytest.mark.parametrize("bad", ["", "..", "a/b", "/etc", "a\\b", "ü", ".hidden", "a" * 101, "-x"])
def test_what_could_leave_the_repository_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a path"):
        layout.checked(bad)
    with pytest.raises(ValueError, match="cannot be part of a path"):
        layout.backups(bad)
    with pytest.raises(ValueError, match="cannot be part of a path"):
        layout.run_start(bad, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "bad", ["", "20261122", "20261122T101530Z-7f3a9", "x", "20261322T101530Z-7f3a9c"]
)
def test_what_is_no_id_has_no_time(bad: str) -> None:
    with pytest.raises(ValueError, match=r"20261322|is not an id"):
        layout.time_of(bad)


@pytest.mark.parametrize(
    "stranger",
    [
        "backups/prod/movies-1234",
        "backups/prod/movies/not-an-id/manifest.json",
        "backups/prod/movies/20261122T101530Z-7f3a9c/deeper/manifest.json",
        "elsewhere/prod/movies/20261122T101530Z-7f3a9c/manifest.json",
    ],
)
def test_a_foreign_file_is_not_taken_for_a_backup(stranger: str) -> None:
    assert layout.read_backup_path(stranger) is None


@given(TIMES, st.timedeltas(timedelta(0), timedelta(days=800)))
def test_every_month_of_a_period_is_looked_at(since: datetime, length: timedelta) -> None:
    until = since + length
    months = list(layout.run_months(since, until))
    assert months == sorted(set(months))
    at = since
    while at <= until:
        assert layout.run_start("r", at).rpartition("/")[0] in months
        at += timedelta(days=20)
    assert layout.run_end("r", until).rpartition("/")[0] in months


@given(st.integers(0, 40 * 2**40))
def test_parts_are_few_enough_and_whole_mebibytes(size: int) -> None:
    part = part_size(size)
    assert part >= PART_FLOOR
    assert part % 2**20 == 0
    assert size <= part * MAX_PARTS
    assert part == PART_FLOOR or part * MAX_PARTS < size + MAX_PARTS * 2**20


def test_a_size_nobody_knows_gets_the_smallest_parts() -> None:
    assert part_size(None) == PART_FLOOR


@given(now=TIMES, number=st.integers(1, 9_999_999))
def test_a_pack_is_ours_and_read_back(now: datetime, number: int) -> None:
    backup_id = layout.new_id(now)
    path = layout.pack("prod", "movies", layout.pack_name(backup_id, number))
    at = layout.read_pack_path(path)
    assert at is not None
    assert layout.is_ours(path)
    assert (at.cluster, at.backup_id, at.number) == ("prod", backup_id, number)
    assert path == layout.pack("prod", "movies", at.name)


@pytest.mark.parametrize(
    "path",
    [
        "packs/prod/movies-0a0b0c0d/20261122T101530Z-7f3a9c-0.pack",
        "packs/prod/movies-0a0b0c0d/20261122T101530Z-7f3a9c.pack",
        "packs/prod/movies-0a0b0c0d/20261122T101530Z-7f3a9c-1.recipe",
        "packs/prod/20261122T101530Z-7f3a9c-1.pack",
        "packs/prod/movies-0a0b0c0d/x/20261122T101530Z-7f3a9c-1.pack",
    ],
)
def test_what_is_no_pack_is_a_strangers(path: str) -> None:
    assert layout.read_pack_path(path) is None
    assert not layout.is_ours(path)


@pytest.mark.parametrize("name", ["../../x", "20261122T101530Z-7f3a9c", "a-1", ""])
def test_no_pack_has_a_name_of_another_form(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a pack"):
        layout.pack("prod", "movies", name)


def test_a_recipe_lies_where_its_part_would() -> None:
    assert layout.recipe_file("shard-0.snapshot") == "shard-0.recipe"
    key = BackupKey(cluster="prod", collection="m", backup_id="20261122T101530Z-7f3a9c")
    assert layout.is_ours(layout.in_backup(key, layout.recipe_file("shard-0.snapshot")))
