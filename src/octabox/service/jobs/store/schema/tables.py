"""Tables of the database of background jobs. Objects are JSON in text columns, which every database has."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(160), primary_key=True),
    Column("number", BigInteger, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("client", String(64), nullable=False),
    Column("owner", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("request_hash", String(64)),
    Column("batch", String(64)),
    Column("model", Text, nullable=False),
    Column("task", Text),
    Column("seed", BigInteger),
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("expires", Double),
    Column("attempts", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("request", Text, nullable=False),
    Column("media", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("result", Text),
    Column("files", Text, nullable=False),
    Column("error", Text),
    Column("webhook", Text),
    Column("server", String(64)),
    Column("cancel_requested", Integer, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("marks", Text, nullable=False, server_default="{}"),
    UniqueConstraint("client", "idempotency_key"),
    Index("jobs_by_status", "status", "number"),
    Index("jobs_by_expiry", "expires"),
    Index("jobs_by_batch", "batch"),
    Index("jobs_by_server", "server"),
    Index("jobs_by_client", "client", "status"),
)

#: The servers that use the store. Jobs of a server that has no row here, or whose lease has ended, are taken over.
servers = Table(
    "servers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("folder", String(64), nullable=False),
    Column("lease_until", Double, nullable=False),
)

#: Webhooks that have not been delivered.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Double, nullable=False),
    Index("deliveries_by_due", "due"),
)

#: Seconds of a run, by model.
run_times = Table(
    "run_times", metadata, Column("model", String(255), primary_key=True), Column("seconds", Double, nullable=False)
)

#: Values of the store itself, such as its version.
properties = Table(
    "properties", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)
