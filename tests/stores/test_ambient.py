"""What the environment says of an endpoint is recorded in the location, or refused: a proof names
the place where the bytes are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec.config import conf

from qdrant_dr.ambient_options import with_ambient
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import ConfigInvalid, StoreOverwrites
from qdrant_dr.repository.open_store import open_place, open_store
from tests.support.scripted import scripted_store

PATIENCE = timedelta(seconds=20)
AMBIENT = ("AWS_", "FSSPEC_", "AZURE_STORAGE_", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_UNIVERSE")
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
HOME = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(AMBIENT):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = {k: dict(v) for k, v in conf.items()}
    yield
    conf.clear()
    conf.update(before)


def config(url: str, **options: Any) -> RepositoryConfig:
    return RepositoryConfig(name="r", url=url, domain="d", options=options)


def profile(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "aws").write_text(text)
    return {"AWS_CONFIG_FILE": str(tmp_path / "aws")}


Make = Callable[[Path, str], Mapping[str, str]]
S3: dict[str, Make] = {
    "of the service": lambda _, url: {"AWS_ENDPOINT_URL_S3": url, "AWS_ENDPOINT_URL": HOME},
    "of all services": lambda _, url: {"AWS_ENDPOINT_URL": url},
    "default profile": lambda t, url: profile(t, f"[default]\nendpoint_url = {url}\n"),
    "named profile": lambda t, url: {
        **profile(t, f"[default]\nendpoint_url={HOME}\n[profile dr]\nendpoint_url = {url}\n"),
        "AWS_PROFILE": "dr",
    },
    "services of a profile": lambda t, url: profile(
        t,
        f"[default]\nservices = mine\nendpoint_url = {HOME}\n"
        f"[services mine]\ns3 =\n  endpoint_url = {url}\n",
    ),
}


@pytest.mark.parametrize("by", S3)
def test_an_endpoint_of_the_aws_tools_is_where_we_go_and_what_we_record(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_store("s3") as store:
        for name, value in S3[by](tmp_path, store.url).items():
            monkeypatch.setenv(name, value)
        where, opened = open_place(config("s3://b/q", key="k", secret="s"), stall_timeout=PATIENCE)
        assert where.endpoint == store.url.partition("://")[2]
        assert opened.stat("x.json") is None
        assert store.seen


def test_the_configured_endpoint_wins_over_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", HOME)
    conf["s3"] = {"endpoint_url": HOME}
    with scripted_store("s3") as store:
        cfg = config("s3://b/q", key="k", secret="s", endpoint_url=store.url)
        where, opened = open_place(cfg, stall_timeout=PATIENCE)
        assert where.endpoint == store.url.partition("://")[2]
        assert opened.stat("x.json") is None


def test_the_aws_tools_can_be_told_to_ignore_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in profile(
        tmp_path, f"[default]\nignore_configured_endpoint_urls = true\nendpoint_url={HOME}\n"
    ).items():
        monkeypatch.setenv(name, value)
    assert not with_ambient("s3", {}).get("endpoint_url")
    monkeypatch.setenv("AWS_ENDPOINT_URL", HOME)
    assert with_ambient("s3", {})["endpoint_url"] == HOME
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert not with_ambient("s3", {}).get("endpoint_url")


def test_what_the_client_would_find_and_we_would_not_is_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Should botocore learn of another place to look: it goes where the record says, or nowhere."""
    monkeypatch.setattr("qdrant_dr.ambient_options._of_aws", lambda _: "")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", HOME)
    store: Any = open_store(config("s3://b/q", key="k", secret="s"), stall_timeout=PATIENCE)
    assert store._fs.config_kwargs["ignore_configured_endpoint_urls"]
    import asyncio

    async def endpoint() -> str:
        client = await store._fs.set_session()
        return str(client.meta.endpoint_url)

    reached = asyncio.run_coroutine_threadsafe(endpoint(), store._fs.loop).result(20)
    assert "amazonaws.com" in reached


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_the_configuration_of_fsspec_is_recorded(kind: str) -> None:
    url = f"{kind}://b/q"
    given = {"key": "k", "secret": "s"} if kind == "s3" else {"token": "anon"}
    with scripted_store(kind) as store:
        conf[kind] = {"endpoint_url": store.url}
        where, opened = open_place(config(url, **given), stall_timeout=PATIENCE)
        assert where.endpoint == store.url.partition("://")[2]
        assert opened.stat("x.json") is None
        assert store.seen


def test_variables_of_fsspec_are_recorded(tmp_path: Path) -> None:
    said = (
        "from qdrant_dr.location_key import place_of\n"
        "print(place_of('s3://b/q', {}).endpoint, place_of('gs://b/q', {}).endpoint, "
        "place_of('az://b/q', {}).endpoint)"
    )
    told = {
        "FSSPEC_S3_ENDPOINT_URL": "https://minio:9000",
        "FSSPEC_GCS": '{"endpoint_url": "https://gcs.test"}',
        "FSSPEC_ABFS_ACCOUNT_NAME": "acme",
    }
    done = subprocess.run(
        [sys.executable, "-c", said], env={**os.environ, **told}, text=True, check=True,
        capture_output=True, cwd=Path(__file__).parents[2], timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["minio:9000", "gcs.test", "acme"]


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_an_emulator_of_the_environment_is_recorded(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted_store("gs") as store:
        host = store.url.partition("://")[2]
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"{scheme}{host}")
        where, opened = open_place(config("gs://b/q", token="anon"), stall_timeout=PATIENCE)
        assert where.endpoint == host
        assert opened.stat("x.json") is None
        assert store.seen


def test_another_universe_of_google_is_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "default")
    assert not with_ambient("gs", {}).get("endpoint_url")
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "apis.test")
    assert with_ambient("gs", {})["endpoint_url"] == "https://storage.apis.test"


KEY = "aGVsbG8="


def test_a_connection_string_of_the_environment_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "ignored-by-the-client")
    with scripted_store("az") as store:
        text = f"AccountName=acme;AccountKey={KEY};BlobEndpoint={store.url}/acme"
        monkeypatch.setenv(CONNECTION, text)
        where, opened = open_place(config("az://b/q"), stall_timeout=PATIENCE)
        assert where.endpoint == f"{store.url.partition('://')[2]}/acme"
        assert opened.stat("x.json") is None
        assert store.seen


CANONICAL = "abfss://box@acme.dfs.core.windows.net/q"


def test_the_account_of_a_url_is_the_client_s() -> None:
    where, opened = open_place(config(CANONICAL, account_key=KEY), stall_timeout=PATIENCE)
    assert str(where) == "az://acme/box/q"
    store: Any = opened
    assert store._fs.account_url == "https://acme.blob.core.windows.net"
    assert store._bucket == "box"
    _, china = open_place(
        config(CANONICAL.replace("windows.net", "chinacloudapi.cn"), account_key=KEY),
        stall_timeout=PATIENCE,
    )
    of_china: Any = china
    assert of_china._fs.account_url == "https://acme.blob.core.chinacloudapi.cn"


def test_a_connection_string_to_the_account_of_the_url_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CONNECTION, f"AccountName=acme;AccountKey={KEY}")
    where, opened = open_place(config(CANONICAL), stall_timeout=PATIENCE)
    store: Any = opened
    assert where.endpoint == "acme"
    assert store._fs.connection_string, "its key is the one that was given"


@pytest.mark.parametrize("by", ["environment", "options", "account", "host"])
def test_two_accounts_for_one_repository_are_refused(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"AccountName=other;AccountKey={KEY}"
    options: dict[str, Any] = {
        "options": {"connection_string": other},
        "account": {"account_name": "other", "account_key": KEY},
        "host": {"account_key": KEY, "account_host": "elsewhere.test"},
    }.get(by, {})
    if by == "environment":
        monkeypatch.setenv(CONNECTION, other)
    with pytest.raises(ConfigInvalid, match="to another account or host") as caught:
        open_store(config(CANONICAL, **options), stall_timeout=PATIENCE)
    assert KEY not in str(caught.value)
    assert (CONNECTION in str(caught.value)) == (by == "environment")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sftp://host/x", "mount it"),
        ("hdfs://host/x", "mount it"),
        ("webdav://host/x", "mount it"),
        ("smb://host/x", "mount it"),
        ("https://b.s3.eu-central-1.amazonaws.com/q", "s3://BUCKET/PREFIX"),
        ("b2://bucket/x", "endpoint_url"),
        ("dropbox://x", "s3://, gs://, abfss:// or a folder"),
    ],
)
def test_a_protocol_without_a_create_only_write_is_told_what_serves(url: str, says: str) -> None:
    with pytest.raises(StoreOverwrites, match="no backup there would be safe") as caught:
        open_store(config(url), stall_timeout=PATIENCE)
    assert says in caught.value.hint
