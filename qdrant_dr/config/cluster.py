"""The section `cluster`: the nodes of the source, and how to call them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from qdrant_dr.config.values import Credentials, Name, Section, rest_url, wrong
from qdrant_dr.quantities import Duration, Size
from qdrant_dr.secrets import SecretRef


class Timeouts(Section):
    connect: Duration = timedelta(seconds=5)
    read: Duration = timedelta(seconds=60)
    snapshot: Duration = Field(
        timedelta(hours=2), description="longest wait for one create or recover call"
    )
    busy: Duration = Field(
        timedelta(minutes=10), description="longest wait for a node that asks for fewer calls (429)"
    )


class Tls(Section):
    """Trusted CAs and our own certificate, if the defaults do not fit. Files in PEM form."""

    ca: str | None = Field(None, description="file of the trusted CAs, instead of the system's")
    certificate: str | None = Field(
        None, description="file of our own certificate, if the server demands one"
    )
    key: Annotated[str, Field(pattern=r"^(file|secret):.+$")] | None = Field(
        None,
        description="file:PATH, or secret:NAME below $QDR_SECRETS_DIR, of its key, without a "
        "password; None: the key is in `certificate`",
    )

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        if self.key is not None and self.certificate is None:
            raise ValueError("`key` needs a `certificate`, which is missing")
        return self


class SnapshotsInS3(Section):
    """Where a server in S3 mode stores its snapshots: they are read from there."""

    url: str = Field(description="s3://bucket/prefix; the prefix is its `snapshots_path`")
    options: dict[str, Any] = Field(default_factory=dict)
    credentials: Credentials | None = None
    tls: Tls = Tls()

    @field_validator("url")
    @classmethod
    def _bucket(cls, url: str) -> str:
        if not re.fullmatch(r"s3a?://[^/]+(/.*)?", url):
            raise wrong(
                "cluster.snapshots_s3.url",
                "must be s3://bucket/prefix: Qdrant keeps snapshots on disk or in S3, nowhere else",
            )
        return url


class ClusterConfig(Section):
    """The source. Keys are references, never text."""

    name: Name
    nodes: tuple[str, ...] = Field(min_length=1, description="REST URL of every node")
    peers: dict[str, str] = Field(
        default_factory=dict,
        description="peer id: REST URL, for peers not reached on their own host at the port of "
        "`nodes`",
    )
    grpc_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None,
        description="of every node, to read restored content over; None: that of REST + 1; 0: "
        "content is read over REST",
    )
    node_space: Size | None = Field(
        None, description="free bytes for snapshots on each node, which no Qdrant call tells"
    )
    snapshots_s3: SnapshotsInS3 | None = Field(
        None, description="set if the servers store their snapshots in S3 themselves"
    )
    api_key: SecretRef | None = None
    read_api_key: SecretRef | None = Field(
        None, description="used for read-only calls; `check` proves that it cannot write"
    )
    tls: Tls = Field(Tls(), description="for the nodes, and for targets of restores")
    timeouts: Timeouts = Timeouts()
    read_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="the share of a collection's `read_rate_limit` that we use"
    )
    clock_skew_limit: Duration = timedelta(seconds=30)

    @field_validator("nodes")
    @classmethod
    def _urls(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(rest_url(f"cluster.nodes.{i}", url) for i, url in enumerate(nodes))

    @field_validator("peers")
    @classmethod
    def _peers(cls, peers: dict[str, str]) -> dict[str, str]:
        for peer in peers:
            if not peer.isdecimal():
                raise wrong(f"cluster.peers.{peer}", "a peer id is the number shown by /cluster")
        return {peer: rest_url(f"cluster.peers.{peer}", url) for peer, url in peers.items()}
