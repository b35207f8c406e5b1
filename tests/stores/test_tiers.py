"""Which classes and tiers can be read at once, and what brings the others back."""

from __future__ import annotations

import pytest

from qdrant_dr.stores.providers import PROVIDERS
from qdrant_dr.stores.tiers import Storage

DONE = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"'
MIB = 2**20


@pytest.mark.parametrize(
    ("kind", "info", "archived"),
    [
        ("s3", {}, False),
        ("s3", {"StorageClass": "STANDARD"}, False),
        ("s3", {"StorageClass": "STANDARD_IA"}, False),
        ("s3", {"StorageClass": "GLACIER_IR"}, False),
        ("s3", {"StorageClass": "INTELLIGENT_TIERING"}, False),
        ("s3", {"StorageClass": "GLACIER"}, True),
        ("s3", {"StorageClass": "DEEP_ARCHIVE"}, True),
        ("az", {"blob_tier": "Hot"}, False),
        ("az", {"blob_tier": "Cool"}, False),
        ("az", {"blob_tier": "Cold"}, False),
        ("az", {"blob_tier": None}, False),
        ("az", {"blob_tier": "Archive"}, True),
        ("az", {"blob_tier": "Archive", "archive_status": "rehydrate-pending-to-hot"}, True),
        ("gs", {"storageClass": "ARCHIVE"}, False),
        ("gs", {"storageClass": "COLDLINE"}, False),
    ],
)
def test_what_a_listing_says(kind: str, info: dict[str, str], archived: bool) -> None:
    found = PROVIDERS[kind].listed(info)
    assert found.archived is archived
    assert found.name == next((v or "" for k, v in info.items() if k != "archive_status"), "")
    assert found.thawing is ("archive_status" in info)


@pytest.mark.parametrize(
    ("kind", "storage", "size", "more"),
    [
        ("s3", Storage("STANDARD"), MIB, False),
        ("s3", Storage("GLACIER", archived=True), 1, True),
        ("s3", Storage("INTELLIGENT_TIERING"), MIB, True),
        ("s3", Storage("INTELLIGENT_TIERING"), 1000, False),  # never moved
        ("az", Storage("Archive", archived=True), MIB, False),
        ("gs", Storage("ARCHIVE"), MIB, False),
    ],
)
def test_an_object_is_asked_itself_only_where_it_says_more(
    kind: str, storage: Storage, size: int, more: bool
) -> None:
    assert PROVIDERS[kind].tells_more(storage, size) is more


@pytest.mark.parametrize(
    ("name", "head", "archived", "words"),
    [
        ("GLACIER", {}, True, "GLACIER"),
        ("GLACIER", {"Restore": 'ongoing-request="true"'}, True, "GLACIER, being brought back"),
        ("GLACIER", {"Restore": DONE}, False, "GLACIER"),
        ("DEEP_ARCHIVE", {"Restore": DONE}, False, "DEEP_ARCHIVE"),
        ("INTELLIGENT_TIERING", {}, False, "INTELLIGENT_TIERING"),
        (
            "INTELLIGENT_TIERING",
            {"ArchiveStatus": "DEEP_ARCHIVE_ACCESS"},
            True,
            "INTELLIGENT_TIERING/DEEP_ARCHIVE_ACCESS",
        ),
        (
            "INTELLIGENT_TIERING",
            {"ArchiveStatus": "ARCHIVE_ACCESS", "Restore": 'ongoing-request="true"'},
            True,
            "INTELLIGENT_TIERING/ARCHIVE_ACCESS, being brought back",
        ),
        ("GLACIER", {"StorageClass": "STANDARD_IA"}, False, "STANDARD_IA"),  # moved meanwhile
    ],
)
def test_what_s3_says_of_one_object(
    name: str, head: dict[str, str], archived: bool, words: str
) -> None:
    s3 = PROVIDERS["s3"]
    found = s3.asked(s3.listed({"StorageClass": name}), head)
    assert (found.archived, str(found)) == (archived, words)
