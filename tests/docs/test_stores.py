"""Every recipe for a store can be copied: it loads, makes a client, leads where the page says."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import Conflict
from qdrant_dr.jobs.check.rows import CheckRow
from qdrant_dr.jobs.check.store import check_repository
from qdrant_dr.repository import create_repository, location_of
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.object_store import ObjectStore
from tests.support.certificates import make_certificates
from tests.support.records import NOW
from tests.support.stores import s3_place

PAGE = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
SAMPLES = dict(
    re.findall(r"^```yaml\n(name: (?:.*\n)+?)```\n\nLocation: `(.+)`$", PAGE, re.MULTILINE)
)
WANTED = {
    "aws",
    "r2",
    "b2",
    "wasabi",
    "minio",
    "versitygw",
    "ceph",
    "gcs",
    "azure",
    "nfs",
    "smb",
    "locked",
}
JSON = [json.loads(b) for b in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
(POLICY,) = (body for body in JSON if "Statement" in body)
(LOCK,) = (body for body in JSON if "ObjectLockEnabled" in body)


def loaded(sample: str) -> RepositoryConfig:
    """The recipe within a configuration, as it is pasted."""
    text = "  - " + sample.rstrip().replace("\n", "\n    ")
    head = "format: 1\ncluster: {name: c, nodes: ['http://q:6333']}\nrepositories:\n"
    (found,) = configfile.loads(head + text, where="docs/stores.md").repositories
    return found


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(re.findall(r"secret:([a-z0-9-]+)", PAGE)):
        (tmp_path / name).write_text("aGVsbG8=\n")
    monkeypatch.setenv("QDR_SECRETS_DIR", str(tmp_path))
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "FSSPEC_")):
            monkeypatch.delenv(name)


def test_every_store_has_its_recipe_and_its_line() -> None:
    names = {loaded(s).name for s in SAMPLES}
    assert names == WANTED
    assert PAGE.count("```yaml") == len(WANTED), "none escapes this test"
    assert set(re.findall(r"\| \[`([a-z0-9]+)`\]\(#", PAGE)) == WANTED - {"locked"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.split()[1])
def test_a_recipe_leads_where_the_page_says(sample: str, secrets: None, tmp_path: Path) -> None:
    cfg = loaded(sample)
    if cfg.tls.ca:
        ca = str(make_certificates(tmp_path).ca)
        cfg = cfg.model_copy(update={"tls": cfg.tls.model_copy(update={"ca": ca})})
    assert str(location_of(cfg)) == SAMPLES[sample]
    if cfg.url.startswith("gs:"):  # the credentials of a machine, which this one has not
        cfg = cfg.model_copy(update={"options": {**cfg.options, "token": "anon"}})
    if not cfg.url.startswith("/"):
        store = open_store(cfg, stall_timeout=timedelta(seconds=5))
        assert isinstance(store, ObjectStore), "its options make a client"


def test_other_spellings_of_the_azure_recipe_are_its_place(secrets: None) -> None:
    (sample,) = (s for s in SAMPLES if s.startswith("name: azure"))
    url = yaml.safe_load(sample)["url"]
    named = set(re.findall(r"`((?:https|az|wasbs)://[^`]*acmedr[^`]+)`", PAGE))
    assert len(named - {SAMPLES[sample]}) == 3
    for other in named - {SAMPLES[sample]}:
        assert str(location_of(loaded(sample.replace(url, other)))) == SAMPLES[sample]


def rows(cfg: RepositoryConfig) -> dict[str, CheckRow]:
    found = check_repository(
        cfg, stall_timeout=timedelta(seconds=60), skew_limit=timedelta(days=99999), read_only=False
    )
    return {row.what: row for row in found}


def test_a_locked_bucket_and_a_key_that_may_not_delete_are_green(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock and the policy as printed, on moto. It looks and writes in two steps, so that under
    load both writers of a race may win: the name is taken one after the other."""
    monkeypatch.setattr("qdrant_dr.jobs.check.store.ROUNDS", 0)
    with s3_place() as place:
        options: dict[str, Any] = {
            "endpoint_url": place.options["endpoint_url"], "region_name": "us-east-1",
            "aws_access_key_id": place.options["key"],
            "aws_secret_access_key": place.options["secret"],
        }  # fmt: skip
        s3, iam = boto3.client("s3", **options), boto3.client("iam", **options)
        s3.create_bucket(Bucket="acme-dr-locked", ObjectLockEnabledForBucket=True)
        s3.put_object_lock_configuration(Bucket="acme-dr-locked", ObjectLockConfiguration=LOCK)
        iam.create_user(UserName="adds")
        iam.put_user_policy(UserName="adds", PolicyName="p", PolicyDocument=json.dumps(POLICY))
        key = iam.create_access_key(UserName="adds")["AccessKey"]
        (sample,) = (s for s in SAMPLES if s.startswith("name: locked"))
        cfg = loaded(sample)
        cfg = cfg.model_copy(update={"options": {
            "endpoint_url": place.options["endpoint_url"],
            "key": key["AccessKeyId"], "secret": key["SecretAccessKey"],
        }})  # fmt: skip
        made = create_repository(cfg, NOW)
        found = rows(cfg.model_copy(update={"id": made}))
        assert {w: (r.state, r.found) for w, r in found.items() if r.state == "failed"} == {}
        assert found["part"].state == "ok"
        store = open_store(cfg, stall_timeout=timedelta(seconds=60))
        store.create("probes/one.json", b"first")
        with pytest.raises(Conflict):
            store.create("probes/one.json", b"second")
        keys = options | {
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
        }
        adds = boto3.client("s3", **keys)
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            adds.delete_object(Bucket="acme-dr-locked", Key="qdrant/repository.json")
