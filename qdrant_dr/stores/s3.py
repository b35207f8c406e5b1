"""S3: multipart uploads, `If-None-Match`, versions and object locks, archive classes, lifecycle."""

# ruff: noqa: SLF001, ARG002 -- fsspec's coroutines begin with `_`; one signature fits three
from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from qdrant_dr.ambient_options import endpoint_of
from qdrant_dr.config import Tls
from qdrant_dr.errors import ObjectMissing, RepositoryDenied, RepositoryRefuses
from qdrant_dr.network import ca_file, client_pair, proxy_for
from qdrant_dr.secrets import laid_over
from qdrant_dr.stores.base import OpenUpload, in_utc, inside
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.errors import is_absent, is_taken, refusal_of
from qdrant_dr.stores.lifecycle import Rule
from qdrant_dr.stores.provider import CONNECT, READ, Calls, Provider, Upload, Versions
from qdrant_dr.stores.retries import S3_CLIENT, S3FS_RETRIES
from qdrant_dr.stores.tiers import Storage

_UNCONDITIONAL = frozenset({"NotImplemented", "UnsupportedHeader", "InvalidArgument"})
"""Answers to a condition at the end of an upload that a store does not know."""
ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MD5 = re.compile("[0-9a-f]{32}")
_MOVING = "INTELLIGENT_TIERING"
_MONITORED = 128 * 1024  # bytes: smaller objects are never moved to another tier


class S3(Provider):
    """Amazon S3, and whatever speaks its protocol."""

    def filesystem(self, options: Mapping[str, Any], tls: Tls, **ours: Any) -> Any:
        from qdrant_dr.stores.s3_client import FileSystem

        made = FileSystem(**laid_over(_options(options, tls), options), **ours)
        made.retries = S3FS_RETRIES
        return made

    def upload(self, fs: Any, bucket: str, key: str, *, create: bool) -> Upload:
        return S3Upload(fs, bucket, key, create)

    async def below(self, fs: Any, folder: str) -> Any:
        """List it in one request a page: `_find` asks two more where there is nothing, for an
        object of the folder's own name, which would not lie below it."""
        return {o["name"]: o for o in await fs._lsdir(folder, delimiter="")}

    def listed(self, info: Mapping[str, Any]) -> Storage:
        name = str(info.get("StorageClass") or "")
        return Storage(name, archived=name in ARCHIVES)

    def md5(self, info: Mapping[str, Any]) -> str:
        """Return the ETag if it may be one: that of an upload in parts is none (`-2`)."""
        mark = str(info.get("ETag") or "").strip('"')
        return mark if _MD5.fullmatch(mark) else ""

    def tells_more(self, storage: Storage, size_bytes: int) -> bool:
        """Say whether to ask the object: a listing tells neither whether an archived object was
        brought back, nor whether one in `INTELLIGENT_TIERING` was moved to an archive tier."""
        return storage.archived or (storage.name == _MOVING and size_bytes >= _MONITORED)

    def head(self, fs: Any, bucket: str, key: str) -> Coroutine[Any, Any, Any]:
        answer: Coroutine[Any, Any, Any] = fs._call_s3(
            "head_object", fs.kwargs, Bucket=bucket, Key=key
        )
        return answer

    def asked(self, storage: Storage, head: Mapping[str, Any]) -> Storage:
        restore = str(head.get("Restore") or "")
        thawing = 'ongoing-request="true"' in restore
        if tier := head.get("ArchiveStatus"):
            return Storage(f"{storage.name}/{tier}", archived=True, thawing=thawing)
        name = str(head.get("StorageClass") or storage.name)
        lent = name in ARCHIVES and 'ongoing-request="false"' in restore
        archived = name in ARCHIVES and not lent
        thawing = archived and thawing
        return replace(storage, name=name, archived=archived, thawing=thawing, lent=lent)

    def versions(self, store: Calls, bucket: str) -> Versions:
        return S3Versions(store, bucket)

    def lifecycle(self, store: Calls, bucket: str, prefix: str) -> tuple[Rule, ...]:
        """Return enabled rules that archive or delete below `prefix`; empty if that is unknown."""
        try:
            found = store.call(
                "asking for the lifecycle of",
                bucket,
                "_call_s3",
                "get_bucket_lifecycle_configuration",
                Bucket=bucket,
            )
        except (ObjectMissing, RepositoryDenied, RepositoryRefuses):
            return ()  # there are none, these credentials may not ask, or it is not Amazon's S3
        return tuple(rules_of(found, prefix))

    def replaced(self, store: Calls, bucket: str, prefix: str, folder: str) -> list[str] | None:
        found: Counter[str] = Counter()
        marker: dict[str, str] = {}
        kept = False  # where versions were never kept, each object has one without an id
        while True:
            page = store.call(
                "listing versions of", folder, "_call_s3", "list_object_versions",
                Bucket=bucket, Prefix=prefix + inside(folder), **marker,
            )  # fmt: skip
            found.update(v["Key"] for v in page.get("Versions", ()))
            found.update({m["Key"]: 2 for m in page.get("DeleteMarkers", ())})
            each = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            kept = kept or any(v.get("VersionId", "null") != "null" for v in each)
            if not page.get("IsTruncated"):
                if not kept:
                    return None
                return sorted(k.removeprefix(prefix) for k, times in found.items() if times > 1)
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page["NextVersionIdMarker"],
            }

    def open_uploads(self, store: Calls, bucket: str, prefix: str, folder: str) -> list[OpenUpload]:
        found: list[OpenUpload] = []
        marker: dict[str, str] = {}
        while True:
            page = store.call(
                "listing uploads of", folder, "_call_s3", "list_multipart_uploads",
                Bucket=bucket, Prefix=prefix + inside(folder), **marker,
            )  # fmt: skip
            found.extend(
                OpenUpload(u["Key"].removeprefix(prefix), u["UploadId"], in_utc(u["Initiated"]))
                for u in page.get("Uploads", ())
                if u["Key"].startswith(prefix + inside(folder))
            )
            if not page.get("IsTruncated"):
                return found
            marker = {
                "KeyMarker": page["NextKeyMarker"],
                "UploadIdMarker": page["NextUploadIdMarker"],
            }

    def discard_upload(self, store: Calls, bucket: str, key: str, upload: OpenUpload) -> None:
        store.call(
            "aborting the upload of", upload.path, "_call_s3", "abort_multipart_upload",
            Bucket=bucket, Key=key, UploadId=upload.token,
        )  # fmt: skip


@dataclass(slots=True)
class S3Upload:
    """A multipart upload."""

    fs: Any
    bucket: str
    key: str
    create: bool
    IN_FLIGHT: int = 3
    _id: str | None = None
    _checks: bool = False
    _tags: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def begin(self) -> None:
        from qdrant_dr.stores.s3_checksums import sign_known_digests

        self._checks = await sign_known_digests(self.fs, self.bucket)
        given = {"ChecksumAlgorithm": "SHA256"} if self._checks else {}
        answer = await self._call("create_multipart_upload", **given)
        self._id = answer["UploadId"]

    async def put(self, number: int, offset: int, body: Body, *, last: bool) -> None:
        given = {"ChecksumSHA256": _in_base64(body.digest())} if self._checks else {}
        answer = await self._call(
            "upload_part", UploadId=self._id, PartNumber=number + 1, Body=body, **given
        )
        self._tags[number] = {
            name: answer[name]
            for name in ("ETag", "ChecksumCRC32", "ChecksumCRC64NVME", "ChecksumSHA256")
            if name in answer
        }

    async def finish(self) -> None:
        """Complete it, with a condition where the store knows one: Amazon does since 2024, others
        refuse the header, or ignore it."""
        if not self.create:
            await self._complete()
            return
        try:
            await self._complete(IfNoneMatch="*")
        except Exception as e:  # noqa: BLE001 -- most are raised again
            error = e
        else:
            return
        # out of the handler, else a further error would have this one as its context
        refusal = refusal_of(error)
        if refusal and (refusal.code in _UNCONDITIONAL or refusal.status == 501):
            await self._complete()
        # a retry after our own success is told that the name is taken: then the upload is gone
        elif not is_taken(error) or await self._is_open():
            raise error

    async def _complete(self, **condition: str) -> None:
        parts = [{"PartNumber": n + 1, **tag} for n, tag in sorted(self._tags.items())]
        await self._call(
            "complete_multipart_upload",
            UploadId=self._id,
            MultipartUpload={"Parts": parts},
            **condition,
        )

    async def _is_open(self) -> bool:
        try:
            await self._call("list_parts", UploadId=self._id)
        except Exception as e:  # noqa: BLE001 -- whatever else it is, that it is gone is not shown
            return not is_absent(e)
        return True

    async def abort(self) -> None:
        if self._id:
            await self._call("abort_multipart_upload", UploadId=self._id)

    async def _call(self, method: str, **arguments: Any) -> Any:
        return await self.fs._call_s3(method, Bucket=self.bucket, Key=self.key, **arguments)


class S3Versions:
    """Versioning hides deleted objects behind a marker; object lock keeps their versions."""

    def __init__(self, store: Calls, bucket: str) -> None:
        self._store, self._bucket = store, bucket
        try:
            found = store.call(
                "asking for the versioning of", bucket, "_call_s3", "get_bucket_versioning",
                Bucket=bucket,
            )  # fmt: skip
        except (RepositoryDenied, RepositoryRefuses):
            found = {}  # some keys may delete objects but not read the bucket's settings
        self.hidden: str | None = None
        if found.get("Status") == "Enabled":
            self.hidden = (
                f"bucket {bucket} keeps versions: a lifecycle rule NoncurrentVersionExpiration "
                "removes deleted ones"
            )

    def locked_until(self, key: str) -> datetime | None:
        try:
            found = self._store.call(
                "asking for the lock of", key, "_call_s3", "head_object",
                Bucket=self._bucket, Key=key,
            )  # fmt: skip
        except ObjectMissing:
            return None
        until = found.get("ObjectLockRetainUntilDate")
        return until.astimezone(UTC) if isinstance(until, datetime) else None


def rules_of(answer: Mapping[str, Any], prefix: str) -> Iterator[Rule]:
    """Return the rules of the answer that affect objects below `prefix`. Pure."""
    for rule in answer.get("Rules", ()):
        below = _prefix_of(rule)
        reaches = below.startswith(prefix) or prefix.startswith(below)
        if rule.get("Status") != "Enabled" or not reaches:
            continue
        name = str(rule.get("ID") or "without a name")
        for move in rule.get("Transitions", ()):
            if (archive := str(move.get("StorageClass", ""))) in ARCHIVES:
                yield Rule(name, below, _when(move), archive)
        expiration = rule.get("Expiration") or {}
        if expiration.get("Days") or expiration.get("Date"):
            yield Rule(name, below, _when(expiration))


def _in_base64(digest: str) -> str:
    return b64encode(bytes.fromhex(digest)).decode()


def _prefix_of(rule: Mapping[str, Any]) -> str:
    """Return a rule's prefix: old rules have it beside their filter, or among several
    conditions."""
    chosen = rule.get("Filter") or {}
    several = chosen.get("And") or {}
    return str(rule.get("Prefix") or chosen.get("Prefix") or several.get("Prefix") or "")


def _when(action: Mapping[str, Any]) -> str:
    return f"on {action['Date']}" if action.get("Date") else f"after {action.get('Days', 0)} days"


def _options(options: Mapping[str, Any], tls: Tls) -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT,
        "read_timeout": READ,
        "retries": dict(S3_CLIENT),
        "tcp_keepalive": True,
        "max_pool_connections": 32,  # a catalog has thousands of small records
        "signature_version": "s3v4",  # otherwise signed URLs use version 2
        "ignore_configured_endpoint_urls": True,  # `ambient_options` looked: that one is recorded
    }
    if pair := client_pair(tls):
        config["client_cert"] = pair
    if endpoint := endpoint_of(
        options
    ):  # else the client finds its endpoint and the environment's proxy by the same rule
        proxy = proxy_for(str(endpoint))
        config["proxies"] = {str(endpoint).partition(":")[0]: proxy} if proxy else {}
    return {"config_kwargs": config, "client_kwargs": {"verify": ca_file(tls)}}
