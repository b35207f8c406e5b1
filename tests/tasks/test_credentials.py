"""Credentials blocks as options of fsspec: nothing is dropped in silence, nothing is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.errors import ConfigInvalid, DRError, SecretMissing
from qdrant_dr.location_key import BLOCKS
from tasks import blocks
from tasks.credentials import _OPTIONS, options_of

SECRET = "hunter2-and-more"
# as the server stores a block of which only the keys were filled in
UNSET: dict[str, Any] = {
    "region_name": None,
    "aws_client_parameters": {
        "api_version": None,
        "use_ssl": True,
        "verify": None,
        "verify_cert_path": None,
        "endpoint_url": None,
        "config": None,
    },
}
AWS: dict[str, Any] = {
    **UNSET,
    "aws_access_key_id": "AKIA",
    "aws_secret_access_key": SECRET,
    "aws_session_token": None,
    "profile_name": None,
    "assume_role_arn": None,
    "assume_role_kwargs": {"RoleSessionName": None, "DurationSeconds": None},
}
MINIO: dict[str, Any] = {**UNSET, "minio_root_user": "root", "minio_root_password": SECRET}
KEYFILE = {"type": "service_account", "private_key": f"-----\n{SECRET}\n-----\n"}
CONNECTION = f"AccountName=acme;AccountKey={SECRET};"
PRINCIPAL = {"client_id": "c", "tenant_id": "t", "client_secret": SECRET}


def client(**given: Any) -> dict[str, Any]:
    return {"aws_client_parameters": {**UNSET["aws_client_parameters"], **given}}


@pytest.mark.parametrize(
    ("name", "stored", "options"),
    [
        ("aws-credentials", AWS, {"key": "AKIA", "secret": SECRET}),
        ("aws-credentials", {**AWS, "aws_session_token": "T", "region_name": "eu-central-1"},
         {"key": "AKIA", "secret": SECRET, "token": "T",
          "client_kwargs": {"region_name": "eu-central-1"}}),
        ("aws-credentials", {**UNSET, "profile_name": "dr"}, {"profile": "dr"}),
        ("aws-credentials", {**AWS, **client(endpoint_url="http://m:9000", use_ssl=False)},
         {"key": "AKIA", "secret": SECRET, "endpoint_url": "http://m:9000"}),
        ("aws-credentials", {**AWS, **client(use_ssl=False, verify=False)},
         {"key": "AKIA", "secret": SECRET, "use_ssl": False, "client_kwargs": {"verify": False}}),
        ("aws-credentials",
         {**AWS, **client(verify_cert_path="/ca.pem", config={"s3": {"addressing_style": "path"}})},
         {"key": "AKIA", "secret": SECRET, "client_kwargs": {"verify": "/ca.pem"},
          "config_kwargs": {"s3": {"addressing_style": "path"}}}),
        ("minio-credentials", {**MINIO, **client(endpoint_url="https://minio:9000")},
         {"key": "root", "secret": SECRET, "endpoint_url": "https://minio:9000"}),
        ("gcp-credentials", {"service_account_info": KEYFILE, "project": "acme"},
         {"token": KEYFILE, "project": "acme"}),
        ("gcp-credentials", {"service_account_info": json.dumps(KEYFILE)}, {"token": KEYFILE}),
        ("gcp-credentials", {"service_account_file": None, "project": None}, {}),
        ("azure-blob-storage-credentials", {"connection_string": CONNECTION, "account_url": None},
         {"connection_string": CONNECTION}),
        ("azure-blob-storage-credentials",
         {"account_url": "https://acme.blob.core.windows.net/", **PRINCIPAL},
         {"account_name": "acme", **PRINCIPAL}),
        ("azure-blob-storage-credentials", {"account_url": "https://acme.blob.core.cloudapi.de"},
         {"account_name": "acme", "account_host": "acme.blob.core.cloudapi.de"}),
    ],
)  # fmt: skip
def test_fields_become_options(name: str, stored: dict[str, Any], options: dict[str, Any]) -> None:
    assert options_of(f"{name}/prod", stored) == options


@pytest.mark.parametrize(
    ("name", "stored", "said"),
    [
        ("aws-credentials", {**AWS, "assume_role_arn": "arn:aws:iam::1:role/x"},
         r"block:aws-credentials/prod sets assume_role_arn, assume_role_kwargs, which"),
        ("aws-credentials", {**AWS, "of_tomorrow": 1}, "sets of_tomorrow, which"),
        ("aws-credentials", {**AWS, **client(of_tomorrow=1)},
         r"sets aws_client_parameters\.of_tomorrow, which"),
        ("minio-credentials", {**MINIO, "aws_access_key_id": "x"}, "sets aws_access_key_id"),
        ("gcp-credentials", {"service_account_info": "{" + SECRET}, "is not JSON"),
        ("azure-blob-storage-credentials", {"account_url": f"http://127.0.0.1/{SECRET}"},
         "account_url of block:.* is not https://ACCOUNT"),
        ("azure-blob-storage-credentials", {"account_url": f"https://a/?{SECRET}"}, "is not https"),
        ("azure-blob-storage-credentials", {"account_url": f"https://u:{SECRET}@a.host"},
         "is not https"),
        ("azure-blob-storage-credentials", {"account_url": f"https://[{SECRET}"}, "is not https"),
    ],
)  # fmt: skip
def test_what_would_be_dropped_is_refused_by_name(
    name: str, stored: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigInvalid, match=said) as caught:
        options_of(f"{name}/prod", stored)
    shows_nothing(caught.value)


def test_a_key_file_must_be_on_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    with pytest.raises(SecretMissing, match="is not on this machine"):
        options_of("gcp-credentials/prod", {"service_account_file": str(file)})
    file.write_text("{}")
    found = options_of("gcp-credentials/prod", {"service_account_file": str(file)})
    assert found == {"token": str(file)}


def test_every_type_that_a_configuration_may_name_has_options() -> None:
    assert _OPTIONS.keys() == BLOCKS.keys()


def shows_nothing(error: DRError) -> None:
    assert SECRET not in str(error) + repr(error)
    assert error.__suppress_context__ or error.__context__ is None


def test_a_server_that_is_away_is_not_asked_for_every_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try may cost a minute: what is known stands in for a while, and is asked for again."""
    asked: list[str] = []
    away = False

    async def read(kind: str, name: str) -> dict[str, Any]:
        asked.append(f"{kind}/{name}")
        if away:
            raise ConnectionError("away")
        return {"value": "k"}

    monkeypatch.setattr(blocks, "_read", read)
    monkeypatch.setattr(blocks, "_seen", {})
    assert blocks.read_block("secret", "x") == {"value": "k"}
    away = True
    blocks.read_anew()
    for _ in range(3):
        assert blocks.read_block("secret", "x") == {"value": "k"}
    assert len(asked) == 2
    blocks.read_anew()
    assert blocks.read_block("secret", "x") == {"value": "k"}
    assert len(asked) == 3
    with pytest.raises(blocks.ServerAway):
        blocks.read_block("secret", "never-seen")
