"""Sign by an SSH agent: how people sign, whose keys have passphrases or lie in hardware."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from qdrant_dr.errors import SignatureInvalid, SigningKeyUnusable
from qdrant_dr.signing.ssh_keys import PublicKey
from qdrant_dr.signing.wire import Reader, number, string

_SOCKET = "SSH_AUTH_SOCK"
_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN, _SIGN_ANSWER = 13, 14
_RSA_SHA512 = 4
_SECONDS = 60.0  # a person may have to touch a key, or to answer a question
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key that an agent holds."""

    public: PublicKey
    comment: str

    def sign(self, data: bytes) -> bytes:
        flags = _RSA_SHA512 if self.public.type == "ssh-rsa" else 0
        asked = bytes([_SIGN]) + string(self.public.blob) + string(data) + number(flags)
        kind, answer = _ask(asked)
        if kind != _SIGN_ANSWER:
            raise SigningKeyUnusable(
                f"the SSH agent did not sign with {self.public.fingerprint} ({self.comment})",
                "add the key again with `ssh-add`, touch it if it asks, and run it again.",
            )
        return answer.string()


def agent_keys() -> tuple[AgentKey, ...]:
    """Return the keys that the agent of $SSH_AUTH_SOCK holds. Raise SigningKeyUnusable."""
    kind, answer = _ask(bytes([_IDENTITIES]))
    if kind != _IDENTITIES_ANSWER:
        raise SigningKeyUnusable("the SSH agent lists no keys", "add yours with `ssh-add`.")
    found = []
    for _ in range(answer.number()):
        blob, comment = answer.string(), answer.string()
        found.append(AgentKey(PublicKey(blob), comment.decode(errors="replace")))
    return tuple(found)


def agent_key(public: PublicKey) -> AgentKey:
    """Return this key as the agent holds it. Raise SigningKeyUnusable if it does not."""
    for key in agent_keys():
        if key.public == public:
            return key
    raise SigningKeyUnusable(
        f"the SSH agent does not hold {public.fingerprint}", "add it with `ssh-add`."
    )


def _ask(message: bytes) -> tuple[int, Reader]:
    path = os.environ.get(_SOCKET)
    if not path:
        raise SigningKeyUnusable(
            f"no SSH agent is known here (${_SOCKET} is not set)",
            "start one with `ssh-agent`, add the key with `ssh-add`, or name a key file.",
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(_SECONDS)
            agent.connect(path)
            agent.sendall(string(message))
            size = Reader(_exactly(agent, 4)).number()
            answer = Reader(_exactly(agent, min(size, _LARGEST)))
            kind = answer.take(1)[0]
    except (OSError, SignatureInvalid) as e:
        raise SigningKeyUnusable(
            f"the SSH agent does not answer: {e}", "start it again, and add the key with `ssh-add`."
        ) from None
    return kind, answer


def _exactly(agent: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        block = agent.recv(size - len(found))
        if not block:
            raise SignatureInvalid("the SSH agent hung up")
        found += block
    return found
