"""The first form of the history's tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("run", sa.String(length=64), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("site", sa.String(length=64), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_kind"), "events", ["kind"], unique=False)
    op.create_index(op.f("ix_events_run"), "events", ["run"], unique=False)
    op.create_index(op.f("ix_events_site"), "events", ["site"], unique=False)
    op.create_index(op.f("ix_events_source"), "events", ["source"], unique=False)
    op.create_table(
        "releases",
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_name", sa.String(length=32), nullable=False),
        sa.Column("valence_ccc", sa.Float(), nullable=True),
        sa.Column("arousal_ccc", sa.Float(), nullable=True),
        sa.Column("is_latest", sa.Boolean(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("sums_sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_releases")),
    )
    op.create_table(
        "runs",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("rounds_done", sa.Integer(), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("asked", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("behind", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.Column("valence_ccc", sa.Float(), nullable=True),
        sa.Column("arousal_ccc", sa.Float(), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_number"), "runs", ["number"], unique=False)
    op.create_table(
        "server",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("folder_id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
    )
    op.create_table(
        "sites",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("presence", sa.String(length=16), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fingerprint", sa.String(length=128), nullable=True),
        sa.Column("run", sa.String(length=64), nullable=True),
        sa.Column("round", sa.Integer(), nullable=True),
        sa.Column("round_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("error_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sites")),
    )
    op.create_table(
        "sources",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("tail", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
    )
    op.create_table(
        "rounds",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sites_asked", sa.Integer(), nullable=False),
        sa.Column("sites_answered", sa.Integer(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=True),
        sa.Column("loss_mean", sa.Float(), nullable=True),
        sa.Column("loss_worst", sa.Float(), nullable=True),
        sa.Column("loss_worst_site", sa.String(length=64), nullable=True),
        sa.Column("loss_spread", sa.Float(), nullable=True),
        sa.Column("valence_pooled", sa.Float(), nullable=True),
        sa.Column("valence_mean", sa.Float(), nullable=True),
        sa.Column("valence_worst", sa.Float(), nullable=True),
        sa.Column("valence_worst_site", sa.String(length=64), nullable=True),
        sa.Column("valence_spread", sa.Float(), nullable=True),
        sa.Column("arousal_pooled", sa.Float(), nullable=True),
        sa.Column("arousal_mean", sa.Float(), nullable=True),
        sa.Column("arousal_worst", sa.Float(), nullable=True),
        sa.Column("arousal_worst_site", sa.String(length=64), nullable=True),
        sa.Column("arousal_spread", sa.Float(), nullable=True),
        sa.Column("wait_s", sa.Float(), nullable=True),
        sa.Column("train_s", sa.Float(), nullable=True),
        sa.Column("transfer_s", sa.Float(), nullable=True),
        sa.Column("aggregate_s", sa.Float(), nullable=True),
        sa.Column("evaluate_s", sa.Float(), nullable=True),
        sa.Column("total_s", sa.Float(), nullable=True),
        sa.Column("bytes_up", sa.BigInteger(), nullable=False),
        sa.Column("bytes_down", sa.BigInteger(), nullable=False),
        sa.Column("epsilon", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name=op.f("fk_rounds_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "round", name=op.f("pk_rounds")),
    )
    op.create_table(
        "site_rounds",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=True),
        sa.Column("loss", sa.Float(), nullable=True),
        sa.Column("update_norm", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("version", sa.String(length=32), nullable=True),
        sa.Column("bytes_up", sa.BigInteger(), nullable=True),
        sa.Column("bytes_down", sa.BigInteger(), nullable=True),
        sa.Column("valence_ccc", sa.Float(), nullable=True),
        sa.Column("arousal_ccc", sa.Float(), nullable=True),
        sa.Column("evaluation_error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.run"], name=op.f("fk_site_rounds_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "round", "site", name=op.f("pk_site_rounds")),
    )
    op.create_index("ix_site_rounds_site", "site_rounds", ["site", "run", "round"], unique=False)
