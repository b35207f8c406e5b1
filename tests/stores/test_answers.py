"""What S3, GCS and Azure answer, asked by the true clients: the code decides, and is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from qdrant_dr.errors import (
    Conflict,
    DRError,
    ObjectArchived,
    ObjectMissing,
    RepositoryDenied,
    RepositoryMissing,
    RepositoryRefuses,
    RepositoryUnreachable,
    StorageFull,
)
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.base import Store as OurStore
from qdrant_dr.stores.codes import EXISTS
from tests.support.scripted import REQUEST_ID, SECRET, Store, scripted_store

WRITING = {"s3": "PUT", "gs": "POST", "az": "PUT"}
LOOKING = {"s3": "HEAD", "gs": "GET", "az": "HEAD"}


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, tuple[Store, OurStore]]]:
    with ExitStack() as stack:
        made = {}
        for kind in ("s3", "gs", "az"):
            store = stack.enter_context(scripted_store(kind))
            made[kind] = store, open_store(store.config(), stall_timeout=timedelta(seconds=30))
        yield made


@pytest.fixture(autouse=True)
def as_usual(stores: dict[str, tuple[Store, OurStore]]) -> None:
    for store, _ in stores.values():
        store.answers, store.words = {}, SECRET


REFUSED: list[tuple[str, int, str, type[DRError], str]] = [
    ("s3", 403, "AccessDenied", RepositoryDenied, "bucket policy"),
    ("s3", 403, "InvalidAccessKeyId", RepositoryDenied, "revoked"),
    ("s3", 403, "SignatureDoesNotMatch", RepositoryDenied, "secret"),
    ("s3", 400, "ExpiredToken", RepositoryDenied, "get new ones"),
    ("s3", 403, "RequestTimeTooSkewed", RepositoryDenied, "clock"),
    ("s3", 403, "InvalidObjectState", ObjectArchived, "archive"),
    ("s3", 400, "KMS.DisabledException", RepositoryRefuses, "enable that key"),
    ("s3", 400, "KMS.SomethingOfTomorrow", RepositoryRefuses, "enable that key"),
    ("s3", 400, "MissingContentMD5", RepositoryRefuses, "when_supported"),
    ("s3", 400, "XAmzContentSHA256Mismatch", RepositoryRefuses, "when_required"),
    ("s3", 501, "NotImplemented", RepositoryRefuses, "when_required"),
    ("s3", 400, "AuthorizationHeaderMalformed", RepositoryRefuses, "region_name"),
    ("s3", 301, "PermanentRedirect", RepositoryRefuses, "endpoint_url"),
    ("s3", 404, "NoSuchBucket", RepositoryMissing, "repository create"),
    ("s3", 403, "QuotaExceeded", StorageFull, "quota"),
    ("s3", 507, "XMinioStorageFull", StorageFull, "free space"),
    ("s3", 409, "OperationAborted", RepositoryUnreachable, "run it again"),
    ("s3", 409, "ConditionalRequestConflict", RepositoryUnreachable, "run it again"),
    ("s3", 403, "UserSuspended", RepositoryDenied, "billing"),
    ("s3", 409, "CodeOfTomorrow", RepositoryRefuses, "request id"),
    ("gs", 401, "authError", RepositoryDenied, "credentials"),
    ("gs", 403, "forbidden", RepositoryDenied, "bucket policy"),
    ("gs", 403, "accountDisabled", RepositoryDenied, "billing"),
    ("gs", 403, "retentionPolicyNotMet", RepositoryDenied, "rule ends"),
    ("gs", 403, "objectUnderActiveHold", RepositoryDenied, "rule ends"),
    ("gs", 400, "userProjectMissing", RepositoryDenied, "requester_pays"),
    ("gs", 412, "orgPolicyConstraintFailed", RepositoryDenied, "constraint"),
    ("gs", 400, "invalid", RepositoryRefuses, "request id"),
    ("gs", 409, "conflict", RepositoryRefuses, "request id"),
    ("az", 409, "BlobImmutableDueToPolicy", RepositoryDenied, "rule ends"),
    ("az", 409, "BlobArchived", ObjectArchived, "archive"),
    ("az", 409, "ContainerBeingDeleted", RepositoryMissing, "soft delete"),
    ("az", 409, "InvalidBlobType", RepositoryRefuses, "page or append"),
    ("az", 412, "LeaseIdMissing", RepositoryRefuses, "break the lease"),
    ("az", 409, "SnapshotsPresent", RepositoryRefuses, "request id"),
    ("az", 403, "AuthorizationPermissionMismatch", RepositoryDenied, "Contributor"),
    ("az", 403, "AuthenticationFailed", RepositoryDenied, "credentials"),
    ("az", 403, "UnauthorizedBlobOverwrite", RepositoryDenied, "credentials"),
    ("az", 403, "KeyVaultEncryptionKeyNotFound", RepositoryRefuses, "enable that key"),
    ("az", 404, "ContainerNotFound", RepositoryMissing, "the bucket is right"),
]


@pytest.mark.parametrize(
    ("kind", "status", "code", "error", "hint"),
    REFUSED,
    ids=[f"{k}-{c}" for k, _, c, *_ in REFUSED],
)
def test_a_refused_write_says_what_was_answered(
    stores: dict[str, tuple[Store, OurStore]],
    kind: str,
    status: int,
    code: str,
    error: type[DRError],
    hint: str,
) -> None:
    script, store = stores[kind]
    script.answers[WRITING[kind]] = status, code
    with pytest.raises(DRError) as caught:
        store.create("x.json", b"{}")
    said = caught.value
    assert type(said) is error
    if error is not RepositoryMissing or status != 404:
        assert f"({code}, {status}, request {REQUEST_ID})" in said.message
    assert hint in said.hint
    assert "does not answer" not in said.message
    assert said.transient is (error is RepositoryUnreachable)
    assert SECRET not in str(said)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("s3", 503, "SlowDown"), ("gs", 429, "rateLimitExceeded"), ("az", 503, "ServerBusy")],
)
def test_busy_is_not_dead_and_is_said_before_the_deadline_hides_it(
    stores: dict[str, tuple[Store, OurStore]], kind: str, status: int, code: str
) -> None:
    script, _ = stores[kind]
    store = open_store(script.config(), stall_timeout=timedelta(seconds=30))  # at first contact
    script.answers[WRITING[kind]] = status, code
    with pytest.raises(RepositoryUnreachable, match="asks for fewer calls") as caught:
        store.create("x.json", b"{}")
    assert code in caught.value.message
    assert caught.value.transient


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("s3", 412, "PreconditionFailed"),
        ("gs", 412, "conditionNotMet"),
        ("az", 409, "BlobAlreadyExists"),
    ],
)
def test_only_these_codes_say_that_a_name_is_taken(
    stores: dict[str, tuple[Store, OurStore]], kind: str, status: int, code: str
) -> None:
    script, store = stores[kind]
    script.answers[WRITING[kind]] = status, code
    with pytest.raises(ObjectMissing):  # it reads what is there, to compare: nothing in this script
        store.create("x.json", b"{}")
    assert code in EXISTS
    # of anything but a create-only write, the same code says nothing of that kind
    script.answers = {LOOKING[kind]: (status, code), "GET": (status, code)}
    with pytest.raises(DRError) as caught:
        store.read("x.json")
    assert not isinstance(caught.value, Conflict)


@pytest.mark.parametrize("kind", ["s3", "gs", "az"])
@pytest.mark.parametrize(
    ("status", "error"),
    [(403, RepositoryDenied), (400, RepositoryRefuses), (301, RepositoryRefuses)],
)
def test_an_answer_without_a_body_is_told_by_its_status(
    stores: dict[str, tuple[Store, OurStore]], kind: str, status: int, error: type[DRError]
) -> None:
    if (kind, status) == ("gs", 301):
        pytest.skip("gcsfs follows redirects; there is none to follow here")
    script, store = stores[kind]
    script.answers = dict.fromkeys(("HEAD", "GET"), (status, ""))
    with pytest.raises(error, match=rf"\({status}, request {REQUEST_ID}\)"):
        store.stat("x.json")


@pytest.mark.parametrize(
    ("code", "words", "error", "hint"),
    [
        ("InvalidRequest", "x-amz-checksum- is required with Object Lock parameters",
         RepositoryRefuses, "when_supported"),
        ("AccessDenied", "because object protected by object lock", RepositoryDenied, "rule ends"),
        ("AccessDenied", "Cannot upload, storage cap exceeded", StorageFull, "quota"),
    ],
)  # fmt: skip
def test_one_code_for_many_reasons_is_told_apart_by_its_words(
    stores: dict[str, tuple[Store, OurStore]],
    code: str,
    words: str,
    error: type[DRError],
    hint: str,
) -> None:
    script, store = stores["s3"]
    script.answers["PUT"], script.words = (400, code), f"{SECRET} {words}"
    with pytest.raises(error) as caught:
        store.create("x.json", b"{}")
    assert hint in caught.value.hint
    assert code in caught.value.message
    assert words not in str(caught.value)


def test_the_region_that_a_bucket_is_in_is_told(
    stores: dict[str, tuple[Store, OurStore]],
) -> None:
    script, store = stores["s3"]
    script.answers["PUT"] = 400, "AuthorizationHeaderMalformed"
    with pytest.raises(RepositoryRefuses, match="the bucket is in eu-central-1"):
        store.create("x.json", b"{}")


def test_what_an_answer_calls_a_code_is_one_or_is_not_shown(
    stores: dict[str, tuple[Store, OurStore]],
) -> None:
    script, store = stores["s3"]
    script.answers["PUT"] = 400, "https://x/?X-Amz-Signature=1"
    with pytest.raises(RepositoryRefuses) as caught:
        store.create("x.json", b"{}")
    assert "Signature" not in str(caught.value)
