"""What S3 compares a part with: SHA-256, in the request's signature and beside it.

The client would compute CRC32 of each part for each store, and without TLS SHA-256, too; the
manifest has the SHA-256 of the same 8 MiB already. Both are sent as that then. The header that is
not the signature is what Object Lock asks for; where `request_checksum_calculation` is
`when_required`, because an old gateway refuses it, only the signature has it.
"""

from __future__ import annotations

from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth

_USUAL = "s3v4"
_KNOWN = "s3v4-qdrant-dr"


class KnownDigest(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs a body by the digest that it has."""

    def payload(self, request: Any) -> str:
        known: str | None = getattr(request.body, "sha256", None)
        return known or str(super().payload(request))


AUTH_TYPE_MAPS[_KNOWN] = KnownDigest


async def sign_known_digests(fs: Any, bucket: str) -> bool:
    """Have parts signed by the digests that they have; return whether checksums go with them."""
    await fs.set_session()
    client = (await fs.get_s3(bucket)).meta
    client.events.register("choose-signer.s3.UploadPart", _choose, unique_id=_KNOWN)
    return bool(client.config.request_checksum_calculation == "when_supported")


def _choose(signature_version: Any = None, **_: Any) -> str | None:
    """Return our signer's name instead of the usual one's; some sign otherwise, or not at all."""
    return _KNOWN if signature_version == _USUAL else None
