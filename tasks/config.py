"""From a configuration's reference to the configuration, resolved where it is used.

Prefect stores the parameters of flows and tasks, so they hold a reference, never a configuration
or a secret: a path, a URL, or `block:NAME`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from qdrant_dr import configfile
from qdrant_dr.config import Config
from qdrant_dr.errors import ConfigDiffers, ConfigInvalid
from qdrant_dr.prefect_block import SLUG
from qdrant_dr.secrets import register_block_reader, register_resolver
from tasks.blocks import BlockMissing, ServerAway, read_anew, read_block
from tasks.credentials import credentials_block
from tasks.secrets import secret_block

BLOCK = "block:"
_SAVE = "qdrant-dr register --config FILE --save-as NAME"

_held: dict[str, Config] = {}


def config_block(name: str) -> str:
    """Return the text of the block. Raise ConfigInvalid if there is none, or no server to ask."""
    kind, _, own = name.rpartition("/")
    if kind not in ("", SLUG):
        raise ConfigInvalid(
            f"block:{name} is of type {kind}, and a configuration is kept in one of type {SLUG}",
            f"write block:{own}; `{_SAVE}` makes it.",
        )
    try:
        return str(read_block(SLUG, own)["text"])
    except BlockMissing:
        raise ConfigInvalid(
            f"there is no block {own!r} of type {SLUG}",
            f"`prefect block ls` lists what there is; `{_SAVE}` makes it from a file.",
        ) from None
    except ServerAway as error:
        raise ConfigInvalid(
            f"block {own!r} cannot be read: {error}",
            "is the Prefect API up, and PREFECT_API_URL its address?",
        ) from None


def load(reference: str) -> Config:
    """Read a configuration at the beginning of a run; blocks of Prefect count, and are asked anew.

    Raise ConfigInvalid.
    """
    read_anew()
    return _load(reference)


def _load(reference: str) -> Config:
    register_resolver(secret_block)
    register_block_reader(credentials_block)
    configfile.register_block_loader(config_block)
    return configfile.load(reference)


def is_file(reference: str) -> bool:
    """Say whether a reference is a path of this machine."""
    return "://" not in reference and not reference.startswith(BLOCK)


def same_cluster(one: Config, other: Config) -> bool | None:
    """Say whether two configurations are of one cluster; None if they are of one name and share no
    repository, as those of two namesakes: nobody shares one."""
    if one.cluster.name != other.cluster.name:
        return False
    ids = [{r.id for r in config.repositories if r.id} for config in (one, other)]
    return True if ids[0] & ids[1] else None


@contextmanager
def held(run_id: str, config: Config) -> Iterator[None]:
    """Let the units of this run, as far as they are done by this process, use this reading.

    An edit in the middle of a run does not split it, nor does a lost API.
    """
    _held[run_id] = config
    try:
        yield
    finally:
        del _held[run_id]


@dataclass(frozen=True, slots=True)
class RunRef:
    """What a unit is told of its run: small and plain, for Prefect keeps and sends it.

    `config` is the reference of its configuration, `config_sha256` the digest of what the run read
    there: a unit in another process reads it anew, and refuses any other.
    """

    config: str
    run_id: str
    config_sha256: str


def is_held(run: RunRef) -> bool:
    """Say whether this process is the one that conducts the run."""
    return run.run_id in _held


def config_of(run: RunRef) -> Config:
    """Return the configuration of a unit: as its run has read it or, in another process, read anew.

    Raise ConfigDiffers if that is not what the run has read, ConfigInvalid if it is none.
    """
    return _held.get(run.run_id) or _same(run)


@lru_cache(maxsize=8)
def _same(run: RunRef) -> Config:
    """Once found to be the same it is kept: later edits are no concern of this run."""
    config = _load(run.config)
    if config.sha256 != run.config_sha256:
        raise ConfigDiffers(
            f"{run.config} on {socket.gethostname()} is not the configuration that run "
            f"{run.run_id} has read ({config.sha256[:12]}, not {run.config_sha256[:12]}): it was "
            "edited meanwhile, or this machine has another one under that name"
        )
    return config
