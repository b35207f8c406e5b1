"""Rules of a bucket that reach into a repository, and only those."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.jobs.check.archive import check_archive
from qdrant_dr.repository import Repository, create_repository, open_repository
from qdrant_dr.stores.object_store import ObjectStore
from qdrant_dr.stores.s3 import rules_of
from tests.support.stores import Place, s3_place

COLD = {"Days": 30, "StorageClass": "GLACIER"}


def rule(**fields: Any) -> dict[str, Any]:
    return {"ID": "cold", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [COLD],
            **fields}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (rule(), ["moves objects to GLACIER after 30 days"]),
        (rule(Filter={"Prefix": "dr/backups/"}), ["below dr/backups/ to GLACIER"]),
        (rule(Filter={"And": {"Prefix": "dr/", "ObjectSizeGreaterThan": 1}}), ["below dr/ to"]),
        (rule(Filter=None, Prefix="d"), ["below d to GLACIER"]),
        (rule(Transitions=[{"Days": 90, "StorageClass": "DEEP_ARCHIVE"}]), ["DEEP_ARCHIVE"]),
        (rule(Transitions=[{"Days": 0, "StorageClass": "GLACIER_IR"}]), []),
        (rule(Transitions=[], Expiration={"Days": 9}), ["deletes objects after 9 days"]),
        (rule(Transitions=[], Expiration={"ExpiredObjectDeleteMarker": True}), []),
        (rule(Status="Disabled"), []),
        (rule(Filter={"Prefix": "logs/"}), []),
        (rule(Filter={"Prefix": "drink/"}), []),
    ],
)
def test_what_reaches_below_a_prefix(found: dict[str, Any], words: list[str]) -> None:
    told = [str(r) for r in rules_of({"Rules": [found]}, "dr/")]
    assert len(told) == len(words)
    for line, part in zip(told, words, strict=True):
        assert part in line
        assert "'cold'" in line


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as found:
        found.need("bucket")
        yield found


def opened(place: Place, bucket: str, rules: list[dict[str, Any]]) -> Repository:
    client = boto3.client(
        "s3", endpoint_url=place.options["endpoint_url"], region_name="us-east-1",
        aws_access_key_id=place.options["key"], aws_secret_access_key=place.options["secret"],
    )  # fmt: skip
    client.create_bucket(Bucket=bucket)
    if rules:
        client.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": rules}
        )
    cfg = RepositoryConfig(
        name="one", url=f"s3://{bucket}/dr", domain="s3", options=dict(place.options)
    )
    made_id = create_repository(cfg, datetime.now(UTC))
    cfg = cfg.model_copy(update={"id": made_id})
    return open_repository(cfg, stall_timeout=timedelta(seconds=30))


def test_a_bucket_without_rules_has_none(place: Place) -> None:
    store = opened(place, "unruled", []).store
    assert isinstance(store, ObjectStore)
    assert store.lifecycle() == ()


def test_check_warns_of_rules_that_take_copies_out_of_reach(place: Place) -> None:
    deletes = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "dr/"},
               "Expiration": {"Days": 400}}  # fmt: skip
    repository = opened(place, "ruled", [rule(), deletes])
    cfg = RepositoryConfig(name="one", url="s3://ruled/dr", domain="s3")
    rows = list(check_archive(cfg, repository))
    assert [(r.what, r.state) for r in rows] == [("lifecycle", "degraded")] * 2
    assert "GLACIER after 30 days" in rows[0].found
    assert "archive_restore_time" in (rows[0].next_step or "")
    assert "deletes objects below dr/ after 400 days" in rows[1].found
    agreed = cfg.model_copy(update={"archive_restore_time": timedelta(hours=12)})
    rows = list(check_archive(agreed, repository))
    assert [r.state for r in rows] == ["ok", "degraded"]
    assert "12 h" in rows[0].found
