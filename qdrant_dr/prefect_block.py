"""The block type that keeps a configuration on a Prefect server.

Prefect loads this module wherever the package is installed (entry point `prefect.collections`), so
that `prefect block` and `Block.load` know the type without an import. It is the one module here
that knows Prefect, and no other imports it.
"""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import Field

SLUG = "qdrant-dr"


class ConfigBlock(Block):
    """A qdrant-dr configuration that the Prefect server keeps, instead of a file on each worker."""

    _block_type_name = "Qdrant DR configuration"
    _block_type_slug = SLUG

    text: str = Field(description="what qdrant-dr.yaml would hold; keys in it are references")
