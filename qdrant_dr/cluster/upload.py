"""Upload one archive in one multipart request: known length, constant memory, nothing sent
twice."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta

import httpx

from qdrant_dr.cluster.http_errors import CONSENSUS, cause_hint, refused, words_of
from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import RecoverFailed, RecoverUnanswered, ServerFailed

UNANSWERED = frozenset({408, 502, 503, 504})
"""Statuses of a time limit, here or in a proxy: the server may still be working."""


def upload_name() -> str:
    """Make a name that no file on the node has, because an equal one would be overwritten."""
    return f"qdr-{secrets.token_hex(8)}.snapshot"


def post_archive(
    node: Node,
    path: str,
    blocks: Iterable[bytes],
    *,
    doing: str,
    file_name: str,
    size: int,
    sha256: str,
    priority: str,
    timeout: timedelta | None,
) -> None:
    """POST `blocks` as the field `snapshot` and wait until the server has restored them.

    `blocks` must yield `size` bytes; an error they raise passes through and restores nothing.
    Raise RecoverFailed with the server's words or if it did not receive everything,
    RecoverUnanswered if it did and may still be working, AccessDenied, NodeUnreachable if it was
    not reached at all."""
    boundary = f"qdr-{secrets.token_hex(16)}"
    head, tail = _frame(boundary, file_name)
    limit = (timeout or node.timeouts.snapshot).total_seconds()
    whole = threading.Event()
    headers = {
        **node.headers(write=True),
        "content-type": f"multipart/form-data; boundary={boundary}",
        "content-length": str(len(head) + size + len(tail)),
    }
    try:
        with node.patient_client(limit) as client:
            response = client.post(
                node.url + path,
                params={"wait": "true", "priority": priority, "checksum": sha256},
                headers=headers,
                content=_body(head, blocks, tail, size, whole),
            )
    except (httpx.ConnectError, httpx.ConnectTimeout) as e:
        raise node.unreachable(e, doing) from None
    except httpx.RequestError as e:
        said = f"{node.url} was given {size} bytes to {doing} and did not answer: {words_of(e)}"
        raise RecoverUnanswered(said) if whole.is_set() else RecoverFailed(said) from None
    must_be_restored(node, response.status_code, response.content, doing=doing)


def must_be_restored(node: Node, status: int, body: bytes, *, doing: str) -> None:
    """Raise the error of a recover call's status: RecoverFailed if the server refused,
    RecoverUnanswered if a time limit ended the wait."""
    if 200 <= status < 300:
        return
    error = refused(
        status, body, url=node.url, doing=doing, key=node.key_reference(write=True),
        collection=None,
    )  # fmt: skip
    if status in UNANSWERED or (error.undecided and CONSENSUS in error.message):
        raise RecoverUnanswered(error.message)
    if isinstance(error, ServerFailed):
        raise RecoverFailed(error.message, cause_hint(error.message))
    raise error


def _frame(boundary: str, file_name: str) -> tuple[bytes, bytes]:
    disposition = f'form-data; name="snapshot"; filename="{file_name}"'
    head = (
        f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


def _body(
    head: bytes, blocks: Iterable[bytes], tail: bytes, size: int, whole: threading.Event
) -> Iterator[bytes]:
    """Yield the body. Raise RecoverFailed before the last boundary if the blocks are not `size`
    bytes. `whole` is set when that boundary is sent, as a server restores nothing without it."""
    sent = 0
    yield head
    for block in blocks:
        sent += len(block)
        if sent > size:
            break
        yield block
    if sent != size:
        raise RecoverFailed(
            f"an upload has {sent} bytes so far, but {size} were announced",
            "run `qdrant-dr verify BACKUP`: the copy does not match its manifest.",
        )
    whole.set()
    yield tail
