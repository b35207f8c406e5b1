"""Where a repository lies, by its URL and options alone: nothing is opened, no secret looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from qdrant_dr.ambient_options import CONNECTION, endpoint_of, with_ambient
from qdrant_dr.records.proof import Location
from qdrant_dr.secrets import PATTERN, block_options, laid_over, resolve

KINDS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs",
    "az": "az", "abfs": "az", "abfss": "az", "wasb": "az", "wasbs": "az",
}  # fmt: skip
"""Protocols of object storages, and what each is called here."""
BLOCKS = {
    "aws-credentials": "s3",
    "minio-credentials": "s3",
    "gcp-credentials": "gs",
    "azure-blob-storage-credentials": "az",
}
"""Types of Prefect blocks that hold keys, and the kind of storage that each opens."""

_AZURE = re.compile(r"([a-z0-9][a-z0-9-]*)\.(?:privatelink\.)?(?:blob|dfs)\.([a-z0-9.-]+)")
_PUBLIC = "core.windows.net"


class Place(NamedTuple):
    """Equal for all spellings of one place. `endpoint` stays a reference where it is one."""

    kind: str
    endpoint: str
    bucket: str
    prefix: str


def place_of(
    url: str,
    options: Mapping[str, Any],
    *,
    credentials: str | None = None,
    look_up: bool = False,
) -> Place:
    """The place; of a folder, `prefix` is its absolute path with `~` and `..` taken out.

    Symbolic links are not followed: one folder under two names still has one repository id.
    `credentials` names a block that may know the endpoint, where the options say none. With
    `look_up`, the block and references in the options are resolved (SecretMissing); `endpoint`
    never holds a secret.
    """
    kind, path = split_url(url)
    if kind == "file":
        folder = os.path.normpath(Path(path).expanduser().absolute())
        return Place(kind, "", "", "/" + folder.lstrip("/"))
    bucket, _, prefix = path.strip("/").partition("/")
    if kind == "az":
        host, bucket, prefix = _azure_parts(path)
        if host:
            return Place(kind, _azure_endpoint(host), bucket, prefix)
    if credentials and (kind == "az" or (kind == "s3" and not endpoint_of(options))):
        if not look_up:
            return Place(kind, credentials, bucket, prefix)
        options = laid_over(block_options(credentials), options)
    return Place(kind, _endpoint(kind, options, look_up=look_up), bucket, prefix)


def client_options(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a client that reaches just this place: with the account that an Azure
    URL names, and with what the environment adds.

    Raise ValueError, without a secret, if URL, options and environment name two accounts.
    """
    kind, path = split_url(url)
    if kind != "az":
        return with_ambient(kind, options)
    host = _azure_parts(path)[0]
    account, suffix = _azure_account(host)
    found = dict(options)
    if host and not found.get("connection_string"):
        found.setdefault("account_name", account)
        if suffix != _PUBLIC:
            found.setdefault("account_host", f"{account}.blob.{suffix}")
    found = with_ambient(kind, found)
    wanted = _azure_endpoint(host) if host else _endpoint(kind, found, look_up=False)
    ambient = os.environ.get(CONNECTION)
    if ambient and not found.get("connection_string"):
        found["connection_string"] = ambient  # the client takes it anyway
    if _key_of_azure(_endpoint(kind, found, look_up=False)) != _key_of_azure(wanted):
        from_here = ambient and ambient == found.get("connection_string")
        by = f"${CONNECTION} leads" if from_here else "options lead"
        raise ValueError(f"{by} to another account or host than the configured one")
    return found


def one_place(a: Place | Location, b: Place | Location) -> bool:
    """Whether two places are one, however their endpoints are spelled.

    What only the place itself can tell (a link, a bind mount, another name of a host) its one
    `repository.json` tells: it has one id, and no two repositories may be configured with that.
    """
    return location_key(a) == location_key(b)


def one_bucket(a: Place | Location, b: Place | Location) -> bool:
    """Whether two places are in one bucket or container, at whatever prefixes; of folders, nothing
    is known."""
    return location_key(a)[:3] == location_key(b)[:3]


def one_path(a: Place | Location, b: Place | Location) -> bool:
    """Whether two places are one but for their endpoints, of which the environment may have been
    silent when one of them was written down."""
    one, other = location_key(a), location_key(b)
    return (one.bucket, one.prefix) == (other.bucket, other.prefix)


def location_key(place: Place | Location) -> Place:
    """Return the one key of a place, equal for every spelling of its endpoint. Pure."""
    if isinstance(place, Location):
        place = Place(place.protocol, place.endpoint, place.bucket, place.prefix)
    kind, endpoint, bucket, prefix = place
    if re.match(PATTERN, endpoint) or endpoint.startswith("block:"):
        return place  # a reference: its name is all that is known
    endpoint = re.sub(r":(80|443)$", "", endpoint.lower()).removesuffix(".")
    if kind == "s3" and re.fullmatch(
        r"(bucket\.vpce-[a-z0-9-]+\.|vpce-[a-z0-9-]+\.)?s3([.-][a-z0-9.-]+)?\.amazonaws\.com",
        endpoint,
    ):
        endpoint = ""  # bucket names are unique in all of its regions
    if endpoint == "storage.googleapis.com":
        kind, endpoint = "gs", ""  # which speaks S3's protocol, too
    if kind == "az":
        endpoint = _key_of_azure(endpoint)
    return Place(kind, endpoint, bucket, prefix.strip("/"))


def split_url(url: str) -> tuple[str, str]:
    """Kind and path; a protocol that is not known keeps its name."""
    protocol, separator, path = url.partition("://")
    return (KINDS.get(protocol, protocol), path) if separator else ("file", url)


def store_url(url: str) -> str:
    """Return the URL of a store; the https address of an Azure container, which its portal shows,
    as an abfss:// URL. Raise ValueError, without the query, for one that holds a signature."""
    protocol, separator, _ = url.partition("://")
    azure = separator and KINDS.get(protocol) == "az"
    parts = urlsplit(url) if azure or protocol in ("http", "https") else None
    if parts is None:
        return url
    host = _AZURE.fullmatch((parts.hostname or "").lower())
    if parts.query and (azure or host):
        raise ValueError(
            "holds a query: put a SAS token into a secret, and name it as `options.sas_token`"
        )
    if azure or not host or protocol == "http":
        return url
    container, _, prefix = parts.path.strip("/").partition("/")
    return f"abfss://{container}@{host[1]}.dfs.{host[2]}/{prefix}".rstrip("/")


def _endpoint(kind: str, options: Mapping[str, Any], *, look_up: bool) -> str:
    """Where the bucket's name is looked up; never a secret."""

    def text(value: object) -> str:
        written = str(value or "")
        if not look_up or written.startswith("file://") or not re.match(PATTERN, written):
            return written
        return resolve(written)

    options = with_ambient(kind, options)
    if kind == "az":
        if connection := text(options.get("connection_string")):
            facts = dict(f.partition("=")[::2] for f in connection.split(";"))
            account, suffix = facts.get("AccountName"), facts.get("EndpointSuffix", _PUBLIC)
            if account and suffix != _PUBLIC:
                account = f"{account}.blob.{suffix}"
            found = facts.get("BlobEndpoint") or account
            return _host(found) if found else _reference(connection)
        account = text(options.get("account_name"))
        host = text(options.get("account_host"))
        return f"{host}/{account}" if host else account
    return _host(text(endpoint_of(options) if kind == "s3" else options.get("endpoint_url")))


def _azure_parts(path: str) -> tuple[str, str, str]:
    """Host or account if the URL names one, container, prefix. Forms: `container/prefix`,
    `container@account.dfs.core.windows.net/prefix`, `account.blob.core.windows.net/container/...`.
    """
    first, _, rest = path.strip("/").partition("/")
    container, at, host = first.partition("@")
    if not at and _AZURE.fullmatch(first.lower()):  # the name of a container has no dot
        host, (container, _, rest) = first, rest.partition("/")
    return host.lower(), container, rest


def _azure_account(host: str) -> tuple[str, str]:
    """Account and suffix of its cloud, of a host or an account alone."""
    found = _AZURE.fullmatch(host)
    return (found[1], found[2]) if found else (host, _PUBLIC)


def _azure_endpoint(host: str) -> str:
    """The account alone in the public cloud; else the host of its blobs."""
    account, suffix = _azure_account(host)
    return account if suffix == _PUBLIC else f"{account}.blob.{suffix}"


def _key_of_azure(endpoint: str) -> str:
    host, slash, account = endpoint.lower().partition("/")
    if slash and host.startswith(f"{account}."):  # `account_host` beside `account_name`
        endpoint = host
    found = _AZURE.fullmatch(re.sub(r":(80|443)$", "", endpoint.lower()))
    if found is None:
        return endpoint.lower()
    account = found[1].removesuffix("-secondary")
    return account if found[2] == _PUBLIC else f"{account}.{found[2]}"


def _reference(text: str) -> str:
    return text if re.match(PATTERN, text) else ""


def _host(url: str) -> str:
    """A URL without scheme, credentials and query."""
    return url.rpartition("://")[2].partition("?")[0].rpartition("@")[2].strip("/")
