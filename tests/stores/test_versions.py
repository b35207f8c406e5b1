"""What a bucket does with deleted objects is recognised, and told apart from freed space."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.records import Expired
from qdrant_dr.repository import Repository, create_repository, delete_copy, open_repository
from qdrant_dr.repository.holds_and_deletions import record_expiry
from qdrant_dr.stores.object_store import ObjectStore
from tests.support import records as made
from tests.support.stores import Place, s3_place

PATIENCE = timedelta(seconds=30)
LOCKED_UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as found:
        found.need("bucket")
        yield found


def client(place: Place) -> Any:
    return boto3.client(
        "s3", endpoint_url=place.options["endpoint_url"], region_name="us-east-1",
        aws_access_key_id=place.options["key"], aws_secret_access_key=place.options["secret"],
    )  # fmt: skip


def repository_in(place: Place, bucket: str) -> Repository:
    cfg = RepositoryConfig(
        name="one", url=f"s3://{bucket}/dr", domain="s3", options=dict(place.options)
    )
    made_id = create_repository(cfg, datetime.now(UTC))
    return open_repository(cfg.model_copy(update={"id": made_id}), stall_timeout=PATIENCE)


def buried(repository: Repository) -> str:
    """A copy that is to go: 1,000 bytes of data and an intent-less manifest."""
    of = made.manifest("movies")
    sink = repository.part_sink(of.key, of.parts[0].file)
    sink.write(bytes(1000))
    sink.commit()
    record_expiry(
        repository,
        Expired(
            backup_id=of.backup_id, cluster=of.cluster, collection="movies", incarnation="one",
            run_id="20261122T101530Z-7f3a9c", decided_at=made.NOW, reason="of the test",
            captured_at=of.captured_at, size_bytes=1000, points=None,
            manifest_sha256=of.sha256, seal_sha256=None,
        ),
    )  # fmt: skip
    return of.key.folder


def test_a_plain_bucket_frees_what_is_deleted(place: Place) -> None:
    client(place).create_bucket(Bucket="plain")
    repository = repository_in(place, "plain")
    freed = delete_copy(repository, buried(repository))
    assert (freed.freed_bytes, freed.hidden_bytes, freed.notes) == (1000, 0, ())


def test_a_versioned_bucket_only_hides_it_and_the_rule_to_set_is_named(place: Place) -> None:
    s3 = client(place)
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    repository = repository_in(place, "versioned")
    freed = delete_copy(repository, buried(repository))
    assert (freed.freed_bytes, freed.hidden_bytes, freed.locked_until) == (0, 1000, None)
    assert "NoncurrentVersionExpiration" in freed.notes[0]
    versions = s3.list_object_versions(Bucket="versioned", Prefix="dr/backups/")
    assert [v["Size"] for v in versions["Versions"]] == [1000]


def test_a_locked_object_says_until_when(place: Place) -> None:
    s3 = client(place)
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    repository = repository_in(place, "locked")
    folder = buried(repository)
    (stored,) = repository.find(f"backups/{folder}")
    s3.put_object_retention(
        Bucket="locked", Key=f"dr/{stored.path}",
        Retention={"Mode": "COMPLIANCE", "RetainUntilDate": LOCKED_UNTIL},
    )  # fmt: skip
    freed = delete_copy(repository, folder)
    assert freed.locked_until == LOCKED_UNTIL
    assert freed.hidden_bytes == 1000


def test_an_entry_that_was_written_over_is_named(place: Place) -> None:
    s3 = client(place)
    s3.create_bucket(Bucket="replaced")
    s3.put_bucket_versioning(Bucket="replaced", VersioningConfiguration={"Status": "Enabled"})
    repository = repository_in(place, "replaced")
    assert isinstance(repository.store, ObjectStore)
    for number in (1, 2, 3):
        repository.store.create(layout.ledger_entry(number), b"an entry")
    assert repository.store.replaced(layout.EVIDENCE) == []
    s3.put_object(Bucket="replaced", Key=f"dr/{layout.ledger_entry(2)}", Body=b"another")
    s3.delete_object(Bucket="replaced", Key=f"dr/{layout.ledger_entry(3)}")
    found = [layout.ledger_entry(2), layout.ledger_entry(3)]
    assert repository.store.replaced(layout.EVIDENCE) == found


def test_a_bucket_without_versions_does_not_say_that_nothing_was_written_over(place: Place) -> None:
    client(place).create_bucket(Bucket="unversioned")
    repository = repository_in(place, "unversioned")
    assert isinstance(repository.store, ObjectStore)
    repository.store.create(layout.ledger_entry(1), b"an entry")
    assert repository.store.replaced(layout.EVIDENCE) is None
