"""The tables of the history (SQLAlchemy), for SQLite and PostgreSQL alike.

Names of sites and numbers only: no name of a person, no address, no feature, no rating. Moments are UTC.
A change of this file needs a migration in ``migrations/versions``.
"""

import datetime as dt
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself in an INTEGER only


class Moment(TypeDecorator[dt.datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is put on again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(dt.UTC)

    def process_result_value(
        self,
        value: dt.datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Base(DeclarativeBase):
    """All tables; named constraints, so that migrations can change them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ServerRow(Base):
    """Whose history this is: one row. A second server on the same database is refused by it."""

    __tablename__ = "server"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    folder_id: Mapped[str] = mapped_column(String(36))
    created: Mapped[dt.datetime] = mapped_column(Moment)
    seen: Mapped[dt.datetime] = mapped_column(Moment)
    """When the recorder last took up what there was."""


class SourceRow(Base):
    """How far a journal was read: changed in the same transaction as what was read from it."""

    __tablename__ = "sources"
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    head: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the journal's first bytes: another file under the same name is begun anew."""
    tail: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the last bytes that were read: so is a file that was cut, and has grown again."""


class RunRow(Base):
    __tablename__ = "runs"
    run: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, index=True)
    """In the order in which they were made."""
    state: Mapped[str] = mapped_column(String(16))
    rule: Mapped[str] = mapped_column(String(32))
    rounds: Mapped[int] = mapped_column(Integer)
    rounds_done: Mapped[int] = mapped_column(Integer)
    quorum: Mapped[int] = mapped_column(Integer)
    asked: Mapped[dt.datetime | None] = mapped_column(Moment)
    started: Mapped[dt.datetime | None] = mapped_column(Moment)
    ended: Mapped[dt.datetime | None] = mapped_column(Moment)
    not_before: Mapped[dt.datetime | None] = mapped_column(Moment)
    behind: Mapped[list[str]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(Text)
    resumed: Mapped[int] = mapped_column(Integer)
    valence_ccc: Mapped[float | None] = mapped_column(Float)
    arousal_ccc: Mapped[float | None] = mapped_column(Float)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)


class RoundRow(Base):
    __tablename__ = "rounds"
    run: Mapped[str] = mapped_column(ForeignKey("runs.run", ondelete="CASCADE"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    time: Mapped[dt.datetime] = mapped_column(Moment)
    attempts: Mapped[int] = mapped_column(Integer)
    sites_asked: Mapped[int] = mapped_column(Integer)
    sites_answered: Mapped[int] = mapped_column(Integer)
    frames: Mapped[int | None] = mapped_column(BigInteger)
    loss_mean: Mapped[float | None] = mapped_column(Float)
    loss_worst: Mapped[float | None] = mapped_column(Float)
    loss_worst_site: Mapped[str | None] = mapped_column(String(64))
    loss_spread: Mapped[float | None] = mapped_column(Float)
    valence_pooled: Mapped[float | None] = mapped_column(Float)
    valence_mean: Mapped[float | None] = mapped_column(Float)
    valence_worst: Mapped[float | None] = mapped_column(Float)
    valence_worst_site: Mapped[str | None] = mapped_column(String(64))
    valence_spread: Mapped[float | None] = mapped_column(Float)
    arousal_pooled: Mapped[float | None] = mapped_column(Float)
    arousal_mean: Mapped[float | None] = mapped_column(Float)
    arousal_worst: Mapped[float | None] = mapped_column(Float)
    arousal_worst_site: Mapped[str | None] = mapped_column(String(64))
    arousal_spread: Mapped[float | None] = mapped_column(Float)
    wait_s: Mapped[float | None] = mapped_column(Float)
    train_s: Mapped[float | None] = mapped_column(Float)
    transfer_s: Mapped[float | None] = mapped_column(Float)
    aggregate_s: Mapped[float | None] = mapped_column(Float)
    evaluate_s: Mapped[float | None] = mapped_column(Float)
    total_s: Mapped[float | None] = mapped_column(Float)
    bytes_up: Mapped[int] = mapped_column(BigInteger)
    bytes_down: Mapped[int] = mapped_column(BigInteger)
    epsilon: Mapped[float | None] = mapped_column(Float)


class SiteRoundRow(Base):
    __tablename__ = "site_rounds"
    run: Mapped[str] = mapped_column(ForeignKey("runs.run", ondelete="CASCADE"), primary_key=True)
    round: Mapped[int] = mapped_column(Integer, primary_key=True)
    site: Mapped[str] = mapped_column(String(64), primary_key=True)
    asked: Mapped[bool] = mapped_column()
    answered: Mapped[bool] = mapped_column()
    error: Mapped[str] = mapped_column(Text)
    frames: Mapped[int | None] = mapped_column(BigInteger)
    loss: Mapped[float | None] = mapped_column(Float)
    update_norm: Mapped[float | None] = mapped_column(Float)
    seconds: Mapped[float | None] = mapped_column(Float)
    device: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(32))
    bytes_up: Mapped[int | None] = mapped_column(BigInteger)
    bytes_down: Mapped[int | None] = mapped_column(BigInteger)
    valence_ccc: Mapped[float | None] = mapped_column(Float)
    arousal_ccc: Mapped[float | None] = mapped_column(Float)
    evaluation_error: Mapped[str] = mapped_column(Text)


class SiteRow(Base):
    """A site as it stands; its last numbers are those of ``run`` and ``round`` in ``site_rounds``."""

    __tablename__ = "sites"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    presence: Mapped[str] = mapped_column(String(16))
    last_seen: Mapped[dt.datetime | None] = mapped_column(Moment)
    fingerprint: Mapped[str | None] = mapped_column(String(128))
    run: Mapped[str | None] = mapped_column(String(64))
    round: Mapped[int | None] = mapped_column(Integer)
    round_time: Mapped[dt.datetime | None] = mapped_column(Moment)
    device: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str] = mapped_column(Text)
    """Of the last round that asked it, a failed one too; empty where nothing was wrong."""
    error_time: Mapped[dt.datetime | None] = mapped_column(Moment)


class EventRow(Base):
    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id is never given twice
    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    time: Mapped[dt.datetime] = mapped_column(Moment)
    kind: Mapped[str] = mapped_column(String(32), index=True)
    run: Mapped[str | None] = mapped_column(String(64), index=True)
    round: Mapped[int | None] = mapped_column(Integer)
    site: Mapped[str | None] = mapped_column(String(64), index=True)
    text: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(String(128), index=True)
    """The journal it stood in, as in ``sources``; ``presence`` or ``queue`` where nothing else kept it."""


class ReleaseRow(Base):
    __tablename__ = "releases"
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    run: Mapped[str] = mapped_column(String(64))
    round: Mapped[int] = mapped_column(Integer)
    created: Mapped[dt.datetime] = mapped_column(Moment)
    schema_name: Mapped[str] = mapped_column(String(32))
    valence_ccc: Mapped[float | None] = mapped_column(Float)
    arousal_ccc: Mapped[float | None] = mapped_column(Float)
    is_latest: Mapped[bool] = mapped_column()
    files: Mapped[dict[str, Any]] = mapped_column(JSON)
    sums_sha256: Mapped[str] = mapped_column(String(64))


Index("ix_site_rounds_site", SiteRoundRow.site, SiteRoundRow.run, SiteRoundRow.round)
