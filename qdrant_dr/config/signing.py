"""Who signs the ledger, and who is believed."""

from __future__ import annotations

from pydantic import Field

from qdrant_dr.config.values import Section
from qdrant_dr.secrets import SecretRef


class Signing(Section):
    """The key that signs entries of the ledger; without one they are chained, and nobody vouches
    for them."""

    key: SecretRef | None = Field(
        None, description="an Ed25519 private key in OpenSSH's format; `signing init` makes one"
    )
    allowed_signers: str | None = Field(
        None, description="file of the public keys that are believed, as ssh-keygen reads it"
    )
    timestamp_url: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description="RFC 3161 time server, asked once a day for the newest entry",
    )
