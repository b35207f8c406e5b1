"""Where a repository lies, by its URL and options alone: nothing is opened, no secret looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qdrant_dr.secrets import PATTERN, block_options, laid_over, resolve

KINDS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
"""Protocols of object storages, and what each is called here."""
BLOCKS = {
    "aws-credentials": "s3",
    "minio-credentials": "s3",
    "gcp-credentials": "gs",
    "azure-blob-storage-credentials": "az",
}
"""Types of Prefect blocks that hold keys, and the kind of storage that each opens."""


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
    if credentials and (
        kind == "az" or (kind == "s3" and not _endpoint(kind, options, look_up=False))
    ):
        if not look_up:
            return Place(kind, credentials, bucket, prefix)
        options = laid_over(block_options(credentials), options)
    return Place(kind, _endpoint(kind, options, look_up=look_up), bucket, prefix)


def one_place(a: Place, b: Place) -> bool:
    """Whether two places are one, however their endpoints are spelled.

    What only the place itself can tell (a link, a bind mount, another name of a host) its one
    `repository.json` tells: it has one id, and no two repositories may be configured with that.
    """
    return _identity(a) == _identity(b)


def _identity(place: Place) -> Place:
    kind, endpoint, bucket, prefix = place
    if re.match(PATTERN, endpoint) or endpoint.startswith("block:"):
        return place  # a reference: its name is all that is known
    endpoint = re.sub(r":(80|443)$", "", endpoint.lower())
    if kind == "s3" and re.fullmatch(r"s3([.-][a-z0-9.-]+)?\.amazonaws\.com", endpoint):
        endpoint = ""  # bucket names are unique in all of its regions
    if kind == "gs" and endpoint == "storage.googleapis.com":
        endpoint = ""
    if kind == "az":
        bucket, at, account = bucket.partition("@")
        endpoint = (account.lower() if at else "") or endpoint
        endpoint = re.sub(r"\.(blob|dfs)\.core\.windows\.net$", "", endpoint)
    return Place(kind, endpoint, bucket, prefix)


def split_url(url: str) -> tuple[str, str]:
    """Kind and path; a protocol that is not known keeps its name."""
    protocol, separator, path = url.partition("://")
    return (KINDS.get(protocol, protocol), path) if separator else ("file", url)


def _endpoint(kind: str, options: Mapping[str, Any], *, look_up: bool) -> str:
    """Where the bucket's name is looked up; never a secret."""

    def text(value: object) -> str:
        written = str(value or "")
        if not look_up or written.startswith("file://") or not re.match(PATTERN, written):
            return written
        return resolve(written)

    if kind == "az":
        if connection := text(options.get("connection_string")):
            facts = dict(f.partition("=")[::2] for f in connection.split(";"))
            found = facts.get("BlobEndpoint") or facts.get("AccountName")
            return _host(found) if found else _reference(connection)
        account = text(options.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"))
        host = text(options.get("account_host"))
        return f"{host}/{account}" if host else account
    endpoint = options.get("endpoint_url")
    inner = options.get("client_kwargs")
    if kind == "s3" and not endpoint and isinstance(inner, Mapping):
        endpoint = inner.get("endpoint_url")
    return _host(text(endpoint))


def _reference(text: str) -> str:
    return text if re.match(PATTERN, text) else ""


def _host(url: str) -> str:
    """A URL without scheme, credentials and query."""
    return url.rpartition("://")[2].partition("?")[0].rpartition("@")[2].strip("/")
