"""`secret:NAME` of a configuration, kept in a Prefect Secret block of that name."""

from __future__ import annotations

from qdrant_dr.errors import SecretMissing
from tasks.blocks import BlockMissing, ServerAway, read_block


def secret_block(name: str) -> str | None:
    """Return the text of the Secret block `name`; None if there is none, or no server to ask.

    As it was typed in: the block's own `get` reads it as JSON, and a key of `12e5` as a number.
    """
    try:
        value = read_block("secret", name)["value"]
    except (BlockMissing, ServerAway):
        return None
    if isinstance(value, dict | list):
        raise SecretMissing(f"secret:{name} holds no text", "save the key alone in that block.")
    return str(value)
