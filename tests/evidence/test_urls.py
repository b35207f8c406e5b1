"""A bucket is verified by its URL alone, with the keys that the environment has; where it keeps
versions, an entry that was written over shows, whatever its bytes say now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from qdrant_dr import layout
from qdrant_dr.repository.open_store import location_of, open_store
from qdrant_dr.signing.ssh_keys import PrivateKey, new_key
from qdrant_dr.stores.object_store import ObjectStore
from tests.support.ledgers import HOUR, Ledger, round_of, trust_line
from tests.support.stores import PLACES, Place, s3_place
from tests.support.thorough import few

PATIENCE = timedelta(seconds=30)
KEY: PrivateKey = new_key()
WRONG = ("doubt", "failed")


@pytest.fixture(scope="module")
def s3() -> Iterator[Place]:
    with s3_place() as place:
        place.need("bucket")
        yield place


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A place of a kind; the one of S3 starts once."""
    if request.param == "s3":
        yield request.getfixturevalue("s3")
        return
    with PLACES[request.param]() as made:
        yield made


def environment(place: Place) -> Mapping[str, str]:
    """What an auditor's machine has: an endpoint, and keys that may read."""
    options = place.options
    if place.kind == "s3":
        return {
            "AWS_ENDPOINT_URL": options["endpoint_url"],
            "AWS_ACCESS_KEY_ID": options["key"],
            "AWS_SECRET_ACCESS_KEY": options["secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    if place.kind == "gcs":
        return {"STORAGE_EMULATOR_HOST": options.get("endpoint_url", "default")}
    return {"AZURE_STORAGE_CONNECTION_STRING": options.get("connection_string", "")}


@pytest.fixture
def ambient(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_up(place: Place) -> None:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in environment(place).items():
            monkeypatch.setenv(name, value)

    return set_up


def uploaded(place: Place, base: str, tmp_path: Path) -> tuple[str, ObjectStore]:
    """A ledger with three rounds of records below this URL."""
    cfg = replace(place, base=base).config()
    store = open_store(cfg, stall_timeout=PATIENCE)
    assert isinstance(store, ObjectStore)
    ledger = Ledger(tmp_path / "made", KEY, location=location_of(cfg))
    for _ in range(3):
        ledger.append(round_of(ledger, ledger.at + HOUR))
    for file in sorted(p for p in ledger.root.rglob("*") if p.is_file()):
        store.create(str(file.relative_to(ledger.root)), file.read_bytes())
    return cfg.url, store


def wrong(rows: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return {check: found for check, (state, found) in rows.items() if state in WRONG}


def verified(qdr: Any, url: str, tmp_path: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    (trust := tmp_path / "trusted").write_text(trust_line(KEY))
    said = qdr("evidence", "verify", url, "--allowed-signers", trust, "--json")
    return said.code, {row["check"]: (row["state"], row["found"]) for row in said.json["rows"]}


@pytest.mark.parametrize("place", few(PLACES, "s3"), indirect=True)
def test_a_bucket_is_verified_by_its_url(
    place: Place, tmp_path: Path, qdr: Any, ambient: Any
) -> None:
    ambient(place)
    url, store = uploaded(place, place.base, tmp_path)
    code, rows = verified(qdr, url, tmp_path)
    assert (code, wrong(rows)) == (0, {})
    assert rows["records"][0] == rows["signatures"][0] == rows["repository"][0] == "ok"
    assert rows["versions"][0] == "not checked"
    store.delete(layout.ledger_entry(2))
    code, rows = verified(qdr, url, tmp_path)
    assert (code, rows["chain"][0]) == (1, "failed")


def test_an_entry_that_was_written_over_shows_where_versions_are_kept(
    s3: Place, tmp_path: Path, qdr: Any, ambient: Any
) -> None:
    """Somebody changed it, and put its bytes back: all else is as it was."""
    ambient(s3)
    client = boto3.client("s3")
    client.create_bucket(Bucket="kept")
    client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    url, store = uploaded(s3, "s3://kept", tmp_path)
    code, rows = verified(qdr, url, tmp_path)
    assert (code, wrong(rows)) == (0, {})
    assert rows["versions"][0] == "ok"
    path = layout.ledger_entry(2)
    prefix, data = url.removeprefix("s3://kept/"), store.read(path)
    client.put_object(Bucket="kept", Key=f"{prefix}/{layout.ALLOWED_SIGNERS}", Body=b"one")
    client.put_object(Bucket="kept", Key=f"{prefix}/{layout.ALLOWED_SIGNERS}", Body=b"another")
    assert verified(qdr, url, tmp_path)[0] == 0  # that file may change
    for body in (b"another", data):
        client.put_object(Bucket="kept", Key=f"{prefix}/{path}", Body=body)
    code, rows = verified(qdr, url, tmp_path)
    assert (code, [*wrong(rows)]) == (3, ["versions"])
    assert path in rows["versions"][1]
