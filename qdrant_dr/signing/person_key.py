"""The key of a person: a file, or what their SSH agent holds."""

from __future__ import annotations

from pathlib import Path

from qdrant_dr.errors import SignatureInvalid, SigningKeyUnusable
from qdrant_dr.signing.ssh_agent import agent_key, agent_keys
from qdrant_dr.signing.ssh_keys import PublicKey, Signer, read_private_key, read_public_line

AGENT = "agent"
_REFERENCES = ("file:", "env:", "secret:")


def person_key(given: str) -> Signer:
    """Return what signs for a person: `agent` for the only key of their agent, a `.pub` file for
    one of several, else a private key by its path or reference.

    Raise SigningKeyUnusable, SecretMissing.
    """
    if given == AGENT:
        return _only_key()
    if given.endswith(".pub"):
        return agent_key(_public(Path(given).expanduser()))
    return read_private_key(given if given.startswith(_REFERENCES) else f"file:{given}")


def _only_key() -> Signer:
    keys = agent_keys()
    if len(keys) == 1:
        return keys[0]
    held = ", ".join(f"{k.public.fingerprint} ({k.comment})" for k in keys)
    raise SigningKeyUnusable(
        f"the SSH agent holds {len(keys)} keys: {held}" if keys else "the SSH agent holds no key",
        "give the .pub file of the one that is to sign: `--key ~/.ssh/id_ed25519.pub`."
        if keys
        else "add yours with `ssh-add`.",
    )


def _public(path: Path) -> PublicKey:
    try:
        return read_public_line(path.read_text())
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is no text"
        raise SigningKeyUnusable(
            f"{path} cannot be read: {why}", "give the path of your .pub file."
        ) from None
    except SignatureInvalid as e:
        raise SigningKeyUnusable(
            f"{path}: {e.message}", "give the path of your .pub file."
        ) from None
