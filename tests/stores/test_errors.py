"""Errors of providers and disks become ours, with the repository's name and without their text."""

from __future__ import annotations

import errno
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp.client_exceptions import ClientConnectorError, ServerDisconnectedError
from aiohttp.client_reqrep import ConnectionKey
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
)
from fsspec.exceptions import FSTimeoutError
from gcsfs.retry import HttpError
from s3fs.errors import translate_boto_error

from qdrant_dr import secrets
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    ConfigInvalid,
    DRError,
    RepositoryDenied,
    RepositoryError,
    RepositoryMissing,
    RepositoryRefuses,
    RepositoryUnreachable,
    RepositoryUntrusted,
    SecretMissing,
    StorageFull,
    StoreOverwrites,
)
from qdrant_dr.repository.open_store import location_of, open_store
from qdrant_dr.stores.errors import is_absent, translate
from qdrant_dr.stores.gcs_client import Refused

SECRET = "AKIA-very-secret"


def s3(code: str, status: int = 400) -> BaseException:
    answer = {
        "Error": {"Code": code, "Message": SECRET},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return translate_boto_error(ClientError(answer, "PutObject"))


def azure(kind: type[HttpResponseError], status: int, code: str | None) -> BaseException:
    error = kind(message=SECRET)
    error.status_code, error.error_code = status, code
    return error


def os_error(number: int) -> OSError:
    return OSError(number, SECRET)


def unconnected() -> BaseException:
    key = ConnectionKey("h", 1, False, False, None, None, None)
    return ClientConnectorError(key, OSError(errno.ECONNREFUSED, SECRET))


def untrusted() -> BaseException:
    cause = ssl.SSLCertVerificationError(1, SECRET)
    cause.verify_message = "self-signed certificate"
    wrapped = EndpointConnectionError(endpoint_url=SECRET)
    wrapped.__cause__ = cause
    return wrapped


CASES: list[tuple[BaseException, type[DRError]]] = [
    (s3("NoSuchBucket", 404), RepositoryMissing),
    (s3("AccessDenied", 403), RepositoryDenied),
    (s3("403", 403), RepositoryDenied),
    (s3("InvalidAccessKeyId", 403), RepositoryDenied),
    (s3("SignatureDoesNotMatch", 403), RepositoryDenied),
    (s3("ExpiredToken", 400), RepositoryDenied),
    (s3("SlowDown", 503), RepositoryUnreachable),
    (s3("InternalError", 500), RepositoryUnreachable),
    (s3("QuotaExceeded", 403), StorageFull),
    (s3("XMinioStorageFull", 507), StorageFull),
    (NoCredentialsError(), RepositoryDenied),
    (EndpointConnectionError(endpoint_url=SECRET), RepositoryUnreachable),
    (ConnectTimeoutError(endpoint_url=SECRET), RepositoryUnreachable),
    (azure(ClientAuthenticationError, 403, "AuthenticationFailed"), RepositoryDenied),
    (azure(HttpResponseError, 403, "AuthorizationPermissionMismatch"), RepositoryDenied),
    (azure(ResourceNotFoundError, 404, "ContainerNotFound"), RepositoryMissing),
    (azure(HttpResponseError, 503, "ServerBusy"), RepositoryUnreachable),
    (azure(HttpResponseError, 507, None), StorageFull),
    (azure(HttpResponseError, 507, "InsufficientAccountPermissions"), RepositoryDenied),
    (ServiceRequestError(SECRET), RepositoryUnreachable),
    (HttpError({"code": 401, "message": SECRET}), RepositoryDenied),
    (HttpError({"code": "429", "message": SECRET}), RepositoryUnreachable),
    (Refused(SECRET, 403, "forbidden", None), RepositoryDenied),
    (unconnected(), RepositoryUnreachable),
    (FSTimeoutError(), RepositoryUnreachable),
    (TimeoutError(SECRET), RepositoryUnreachable),
    (os_error(errno.ENOSPC), StorageFull),
    (os_error(errno.EDQUOT), StorageFull),
    (os_error(errno.EROFS), RepositoryDenied),
    (os_error(errno.EACCES), RepositoryDenied),
    (os_error(errno.ESTALE), RepositoryUnreachable),
    (os_error(errno.EIO), RepositoryUnreachable),
    (os_error(errno.ENOTDIR), RepositoryMissing),
    (os_error(errno.ENAMETOOLONG), RepositoryRefuses),
    (os_error(errno.EMFILE), RepositoryRefuses),
    (RuntimeError(SECRET), RepositoryError),
    (untrusted(), RepositoryUntrusted),
    (ssl.SSLEOFError(8, SECRET), RepositoryUnreachable),
    (ServerDisconnectedError(SECRET), RepositoryUnreachable),
    (ProxyConnectionError(proxy_url=SECRET), RepositoryUnreachable),
]

OF_A_DISK = {
    errno.ENOSPC: "no space",
    errno.EDQUOT: "quota",
    errno.EFBIG: "a file that large",
    errno.EROFS: "read-only",
    errno.EACCES: "user of this process",
    errno.EPERM: "user of this process",
    errno.ESTALE: "stale",
    errno.EIO: "errors",
    errno.ENAMETOOLONG: "longer",
    errno.EMFILE: "open files",
}


@pytest.mark.parametrize("number", OF_A_DISK, ids=errno.errorcode.get)
def test_an_error_of_a_disk_has_its_own_words_and_step(number: int) -> None:
    ours = translate(os_error(number), repository="disk", doing="writing x.json")
    assert OF_A_DISK[number] in ours.message
    assert errno.errorcode[number] in ours.message
    assert "credentials" not in ours.hint
    assert len({translate(os_error(n), repository="d", doing="").hint for n in OF_A_DISK}) >= 8


def test_what_an_error_of_the_system_was_raised_after_is_no_cause_of_it() -> None:
    late = os_error(errno.ENOSPC)
    late.__context__ = os_error(errno.EACCES)
    assert type(translate(late, repository="disk", doing="writing")) is StorageFull


def test_a_certificate_is_no_permission() -> None:
    ours = translate(untrusted(), repository="minio", doing="looking at repository.json")
    assert "self-signed certificate" in ours.message
    assert "EPERM" not in ours.message
    assert "tls.ca" in ours.hint
    assert ours.exit_code == 5
    assert not ours.transient


@pytest.mark.parametrize(
    ("error", "kind"), CASES, ids=lambda v: getattr(v, "__name__", repr(v))[:50]
)
def test_an_error_of_a_provider_is_ours(error: BaseException, kind: type[DRError]) -> None:
    ours = translate(error, repository="aws", doing="writing x.json")
    assert type(ours) is kind
    assert "repository aws" in ours.message
    assert "writing x.json" in ours.message
    assert ours.hint
    assert SECRET not in str(ours)


def test_what_an_error_wraps_counts() -> None:
    wrapped = RuntimeError("failed to upload block")
    wrapped.__cause__ = os_error(errno.ENOSPC)
    assert type(translate(wrapped, repository="az", doing="writing")) is StorageFull


def test_our_own_errors_pass_through() -> None:
    ours = StorageFull("full")
    assert translate(ours, repository="aws", doing="writing") is ours


@pytest.mark.parametrize(
    ("error", "absent"),
    [
        (s3("NoSuchKey", 404), True),
        (s3("404", 404), True),
        (s3("NoSuchBucket", 404), False),
        (azure(ResourceNotFoundError, 404, "BlobNotFound"), True),
        (azure(ResourceNotFoundError, 404, "ContainerNotFound"), False),
        (FileNotFoundError("x"), True),
        (s3("AccessDenied", 403), False),
    ],
)
def test_an_absent_object_is_told_from_an_absent_bucket(error: BaseException, absent: bool) -> None:
    assert is_absent(error) is absent


# locations


def config(url: str, **options: object) -> RepositoryConfig:
    return RepositoryConfig(name="x", url=url, domain="d", options=options)


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (config("s3://acme-dr/qdrant"), "s3://acme-dr/qdrant"),
        (config("s3://acme-dr"), "s3://acme-dr"),
        (config("s3a://acme-dr/a/b/"), "s3://acme-dr/a/b"),
        (config("s3://dr/q", endpoint_url="https://minio:9000/"), "s3://minio:9000/dr/q"),
        (config("gcs://acme/q"), "gs://acme/q"),
        (config("abfs://box/q", account_name="acme"), "az://acme/box/q"),
        (
            config("az://box/q", connection_string=f"AccountName=acme;AccountKey={SECRET};"),
            "az://acme/box/q",
        ),
        (config("file:///mnt/dr/./qdrant"), "file:///mnt/dr/qdrant"),
        (config("/mnt/dr/qdrant/"), "file:///mnt/dr/qdrant"),
    ],
)
def test_a_location_says_where_and_nothing_secret(cfg: RepositoryConfig, said: str) -> None:
    assert str(location_of(cfg)) == said


def test_an_endpoint_with_a_password_is_told_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT", f"https://user:{SECRET}@minio:9000")
    where = location_of(config("s3://dr/q", endpoint_url="env:ENDPOINT"))
    assert str(where) == "s3://minio:9000/dr/q"


def test_a_relative_folder_is_where_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert location_of(config("./dr")).prefix == str(tmp_path / "dr")[1:]


@pytest.mark.parametrize("url", ["ftp://host/x", "http://host/x", "sftp://host/x"])
def test_a_protocol_that_cannot_create_only_is_refused(url: str) -> None:
    with pytest.raises(StoreOverwrites, match="without overwriting"):
        location_of(config(url))


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="names no bucket"):
        location_of(config("s3://"))


def test_options_that_make_no_client_are_a_configuration_error() -> None:
    cfg = config("az://box/q", connection_string="nonsense")
    with pytest.raises(ConfigInvalid, match="options make no az client") as caught:
        open_store(cfg, stall_timeout=timedelta(seconds=5))
    assert "nonsense" not in str(caught.value)


def test_a_secret_that_is_missing_is_named_not_told() -> None:
    cfg = config("s3://b/q", key="env:QDR_NO_SUCH_KEY", secret="env:QDR_NO_SUCH_SECRET")
    with pytest.raises(SecretMissing, match="QDR_NO_SUCH_KEY"):
        open_store(cfg, stall_timeout=timedelta(seconds=5))


def test_a_connection_string_of_the_machine_does_not_win_over_an_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=b;AccountKey={SECRET}")
    with pytest.raises(ConfigInvalid, match="AZURE_STORAGE_CONNECTION_STRING") as caught:
        open_store(config("az://dr/q", account_name="a"), stall_timeout=timedelta(seconds=5))
    assert SECRET not in str(caught.value)


def test_a_missing_block_is_told_where_nothing_reads_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secrets, "_block_readers", [])
    block = {"credentials": "block:aws-credentials/prod"}
    cfg = config("s3://dr/q", endpoint_url="minio:9000").model_copy(update=block)
    assert location_of(cfg).endpoint == "minio:9000", "no key is needed to say where it lies"
    for ask in (lambda: open_store(cfg, stall_timeout=timedelta(seconds=5)),
                lambda: location_of(cfg.model_copy(update={"options": {}}))):  # fmt: skip
        with pytest.raises(SecretMissing, match="no Prefect is loaded here"):
            ask()
