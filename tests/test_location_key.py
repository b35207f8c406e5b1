"""One place has many spellings, and is one copy."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile, secrets
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import ConfigInvalid, Conflict, RepositoryMismatch, SecretMissing
from qdrant_dr.location_key import Place, location_key, one_place, place_of, store_url
from qdrant_dr.records import Location
from qdrant_dr.repository import create_repository, open_repository
from tests.support.records import NOW, config

PATIENCE = timedelta(seconds=5)

MINIO = "https://minio:9000"
SAME: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    (("/mnt/dr", {}), ("file:///mnt/dr/", {})),
    (("/mnt/dr", {}), ("file:////mnt/x/../dr", {})),
    (("here", {}), ("./there/../here", {})),
    (("~/dr", {}), ("file://~/dr/", {})),
    (("s3://b/q", {}), ("s3a://b/q/", {})),
    (("gs://b/q", {}), ("gcs://b/q", {})),
    (("az://b/q", {"account_name": "a"}), ("abfs://b/q", {"account_name": "a"})),
    (("az://b/q", {"account_name": "a"}), ("abfss://b/q/", {"account_name": "a"})),
    (("az://b", {"connection_string": "env:C"}), ("abfs://b", {"connection_string": "env:C"})),
    (
        ("s3://b/q", {"endpoint_url": MINIO}),
        ("s3://b/q", {"client_kwargs": {"endpoint_url": MINIO + "/"}}),
    ),
    (("memory://b/q", {}), ("memory://b/q/", {})),
    (("az://b/q", {"account_name": "acme"}), ("abfss://b@acme.dfs.core.windows.net/q", {})),
    (("az://b/q", {"account_name": "acme"}), ("wasbs://b@ACME.blob.core.windows.net/q/", {})),
    (("az://acme.blob.core.windows.net/b/q", {}), ("abfs://b@acme/q", {})),
    (
        ("https://acme.blob.core.windows.net/b/q", {}),
        ("https://acme.dfs.core.windows.net/b/q/", {}),
    ),
    (("https://acme.blob.core.windows.net/b/q", {}), ("abfss://b@acme.dfs.core.windows.net/q", {})),
    (
        ("abfss://b@acme.dfs.core.chinacloudapi.cn/q", {}),
        (
            "az://b/q",
            {"connection_string": "AccountName=acme;EndpointSuffix=core.chinacloudapi.cn"},
        ),
    ),
]
OTHER: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    (("/mnt/dr", {}), ("/mnt/dr2", {})),
    (("s3://b/q", {}), ("gs://b/q", {})),
    (("s3://b/q", {}), ("s3://b/r", {})),
    (("s3://b/q", {}), ("s3://b/q", {"endpoint_url": MINIO})),
    (("s3://b/q", {"endpoint_url": "env:A"}), ("s3://b/q", {"endpoint_url": "env:B"})),
    (("az://b", {"connection_string": "env:A"}), ("az://b", {"connection_string": "env:B"})),
    (("az://b", {"account_name": "a"}), ("az://b", {"account_name": "b"})),
    (("abfss://b@acme.dfs.core.windows.net/q", {}), ("abfss://c@acme.dfs.core.windows.net/q", {})),
    (
        ("abfss://b@acme.dfs.core.windows.net/q", {}),
        ("abfss://b@acme.dfs.core.chinacloudapi.cn/q", {}),
    ),
]


ONE: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    (("s3://b/q", {"endpoint_url": "https://minio"}), ("s3://b/q", {"endpoint_url": "https://MinIO:443/"})),
    (("s3://b/q", {"endpoint_url": "http://minio:80"}), ("s3://b/q", {"endpoint_url": "http://minio"})),
    (("s3://b/q", {}), ("s3://b/q", {"endpoint_url": "https://s3.eu-central-1.amazonaws.com"})),
    (("s3://b/q", {}), ("s3://b/q", {"endpoint_url": "https://s3.dualstack.us-east-1.amazonaws.com:443"})),
    (("gs://b/q", {}), ("gs://b/q", {"endpoint_url": "https://storage.googleapis.com"})),
    (("az://b/q", {"account_name": "acme"}), ("abfs://b@acme.dfs.core.windows.net/q", {})),
    (("az://b/q", {"account_name": "acme"}), ("az://b/q", {"connection_string": "BlobEndpoint=https://ACME.blob.core.windows.net"})),
    (("az://a.privatelink.blob.core.windows.net/b", {}), ("az://b", {"account_name": "a"})),
    (
        ("abfss://b@a.dfs.core.usgovcloudapi.net/q", {}),
        ("az://b/q", {"account_name": "a", "account_host": "a.blob.core.usgovcloudapi.net"}),
    ),
    (("s3://b/q", {"endpoint_url": "https://storage.googleapis.com"}), ("gs://b/q", {})),
    (("s3://b/q", {}), ("s3://b/q", {"endpoint_url": "https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com"})),
]  # fmt: skip
"""The same, to the eye of a comparison: the record of a place keeps what was written."""


def placed(url: str, options: dict[str, Any]) -> Place:
    return place_of(store_url(url), options)


@pytest.mark.parametrize(("one", "other"), [*SAME, *ONE])
def test_two_spellings_of_an_endpoint_are_one_copy(one: Any, other: Any) -> None:
    assert one_place(placed(*one), placed(*other))


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_places_with_other_endpoints_are_two(one: Any, other: Any) -> None:
    assert not one_place(place_of(*one), place_of(*other))
    minio = ("s3://b/q", {"endpoint_url": MINIO})
    for elsewhere in ("https://minio:9001", "https://minio.example", "https://minio"):
        assert not one_place(place_of(*minio), place_of("s3://b/q", {"endpoint_url": elsewhere}))


@pytest.mark.parametrize(("one", "other"), [*SAME, *ONE])
def test_a_recorded_location_has_the_key_of_its_place(one: Any, other: Any) -> None:
    """Proofs of a place count however the configuration spells it now."""
    was, is_now = placed(*one), placed(*other)
    recorded = Location(
        protocol=was.kind, endpoint=was.endpoint, bucket=was.bucket, prefix=was.prefix.lstrip("/")
    )
    assert location_key(recorded) == location_key(is_now)
    assert location_key(is_now) == location_key(location_key(is_now)), "a key is its own key"


@pytest.mark.parametrize("query", ["sv=2024&sig=hunter2", "comp=hunter2"])
@pytest.mark.parametrize(
    "url", ["https://acme.blob.core.windows.net/b/q", "abfss://b@acme.dfs.core.windows.net/q"]
)
def test_a_signature_in_a_url_is_refused_and_not_shown(url: str, query: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"password or token|holds a query") as caught:
        configfile.loads(configuration((f"{url}?{query}", {}), ("/mnt/x", {})), where="x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("by", ["link", "a link above", "dots", "bind mount"])
def test_a_folder_by_another_way_is_never_a_second_copy(tmp_path: Path, by: str) -> None:
    """What the configuration cannot see, the one id in the place tells: none is counted twice."""
    real = tmp_path / "real" / "dr"
    real.mkdir(parents=True)
    way = tmp_path / "way"
    match by:
        case "link":
            way.symlink_to(real)
        case "a link above":
            (tmp_path / "above").symlink_to(real.parent)
            way = tmp_path / "above" / "dr"
        case "dots":
            way = tmp_path / "x" / ".." / "real" / "dr"
        case "bind mount":
            way.mkdir()
            mounted = subprocess.run(["mount", "--bind", real, way], check=False)
            if mounted.returncode:
                pytest.skip("no right to mount here")
    try:
        one, two = (
            RepositoryConfig(name=n, url=str(at), domain=n) for n, at in (("a", real), ("b", way))
        )
        identifier = create_repository(one, NOW)
        with pytest.raises(Conflict, match="is a repository already"):
            create_repository(two, NOW)
        for given in (None, "0" * 8):
            with pytest.raises(RepositoryMismatch, match=identifier):
                open_repository(two.model_copy(update={"id": given}), stall_timeout=PATIENCE)
        both = [{**dict(r), "id": identifier} for r in (one, two)]
        with pytest.raises(ValueError, match="one copy, not two"):
            config(repositories=both)
    finally:
        if by == "bind mount":
            subprocess.run(["umount", way], check=False)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_place_is_equal_in_every_spelling(one: Any, other: Any) -> None:
    assert placed(*one) == placed(*other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_different_places_are_not_equal(one: Any, other: Any) -> None:
    assert place_of(*one) != place_of(*other)


def test_a_relative_folder_is_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("./dr", {}) == place_of(f"file://{tmp_path}/dr", {})


def test_references_are_looked_up_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"endpoint_url": "env:WHERE"}
    assert place_of("s3://b", options).endpoint == "env:WHERE"
    with pytest.raises(SecretMissing):
        place_of("s3://b", options, look_up=True)
    monkeypatch.setenv("WHERE", "https://user:hunter2@minio:9000/\n")
    assert place_of("s3://b", options, look_up=True).endpoint == "minio:9000"


@pytest.mark.parametrize("written", ["AccountKey=hunter2", "user:hunter2@minio:9000"])
def test_an_endpoint_never_holds_a_secret(written: str) -> None:
    for url, key in (("az://b", "connection_string"), ("s3://b", "endpoint_url")):
        assert "hunter2" not in place_of(url, {key: written}).endpoint.rpartition("=")[0]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_a_configuration_counts_no_place_twice(one: Any, other: Any) -> None:
    with pytest.raises(
        ConfigInvalid, match=r"repositories\[1\].url: is the same place as that of a"
    ):
        configfile.loads(configuration(one, other), where="x")


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_a_configuration_may_name_two_places(one: Any, other: Any) -> None:
    assert len(configfile.loads(configuration(one, other), where="x").repositories) == 2


def configuration(*places: tuple[str, dict[str, Any]]) -> str:
    lines = ["format: 1", "cluster: {name: c, nodes: ['http://q:6333']}", "repositories:"]
    for name, (url, options) in zip("ab", places, strict=True):
        lines.append(f"  - {{name: {name}, url: '{url}', domain: {name}, options: {options}}}")
    return "\n".join(lines)


BLOCK = "block:aws-credentials/prod"


def test_what_a_block_says_of_the_client_counts_beside_the_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As for the store that is opened: else the two would be at different places."""
    inner = {"client_kwargs": {"endpoint_url": MINIO}}
    monkeypatch.setattr(secrets, "_block_readers", [lambda _: inner])
    options = {"client_kwargs": {"region_name": "eu-central-1"}}
    found = place_of("s3://b/q", options, credentials=BLOCK, look_up=True)
    assert found == place_of("s3://b/q", secrets.resolve_options(options, BLOCK))
    assert found.endpoint


def test_a_block_may_know_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def reader(name: str) -> dict[str, Any]:
        asked.append(name)
        return {"endpoint_url": f"{MINIO}/", "connection_string": "AccountName=acme;AccountKey=x"}

    monkeypatch.setattr(secrets, "_block_readers", [reader])
    assert place_of("s3://b/q", {}, credentials=BLOCK).endpoint == BLOCK
    assert place_of("s3://b/q", {}, credentials=BLOCK) != place_of("s3://b/q", {})
    named = place_of("s3://b/q", {"endpoint_url": "other:1"}, credentials=BLOCK, look_up=True)
    assert (named.endpoint, asked) == ("other:1", []), "what the options say is not asked"
    assert place_of("gs://b", {}, credentials="block:gcp-credentials/x", look_up=True) == place_of(
        "gs://b", {}
    )
    looked_up = place_of("s3://b/q", {}, credentials=BLOCK, look_up=True)
    assert looked_up == place_of("s3://b/q", {"endpoint_url": MINIO})
    azure = "block:azure-blob-storage-credentials/x"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "of-the-machine")
    assert place_of("az://b", {}, credentials=azure).endpoint == azure
    assert place_of("az://b", {}, credentials=azure, look_up=True).endpoint == "acme"
    assert len(asked) == 2
