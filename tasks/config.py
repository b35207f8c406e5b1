"""From a configuration's reference to the configuration, resolved where it is used.

Prefect stores the parameters of flows and tasks, so they hold a reference, never a configuration
or a secret: a path, a URL, or `block:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.blocks.core import Block
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import Field

from qdrant_dr import configfile
from qdrant_dr.config import Config
from qdrant_dr.errors import ConfigInvalid
from qdrant_dr.secrets import register_resolver
from tasks.secrets import secret_block

SLUG = "qdrant-dr"

_held: dict[str, Config] = {}


class ConfigBlock(Block):
    """A qdrant-dr configuration that the Prefect server keeps, instead of a file on each worker."""

    _block_type_name = "Qdrant DR configuration"
    _block_type_slug = SLUG

    text: str = Field(description="what qdrant-dr.yaml would hold; keys in it are references")


def config_block(name: str) -> str:
    """The text of the block. Raise ConfigInvalid if there is none, or no server to ask."""
    try:
        return run_coro_as_sync(_read(name))
    except ValueError:
        raise ConfigInvalid(
            f"there is no block {name!r} of type {SLUG}",
            "save one as deployments/README.md shows, or name a file.",
        ) from None
    # a lost API shows as many things; whatever it was, there is no configuration
    except Exception as error:  # noqa: BLE001
        raise ConfigInvalid(
            f"block {name!r} cannot be read: {type(error).__name__}", "is the Prefect API up?"
        ) from None


async def _read(name: str) -> str:
    block: Any = await ConfigBlock.aload(name)
    return str(block.text)


def load(reference: str) -> Config:
    """Read a configuration; blocks and Secret blocks of Prefect count. Raise ConfigInvalid."""
    register_resolver(secret_block)
    configfile.register_block_loader(config_block)
    return configfile.load(reference)


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


def config_of(reference: str, run_id: str) -> Config:
    """The configuration of a unit: as its run has read it, else (another process) read anew."""
    return _held.get(run_id) or load(reference)
