"""Refund intents: one row per (payment, cause); the id is the refund number on every retry."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class ProviderPace(Base):
    """Until when an operation's calls and error answers a second are used up (workers/pace.py)."""

    __tablename__ = "provider_pace"

    operation: Mapped[str] = mapped_column(Text, primary_key=True)
    calls_until_us: Mapped[int] = mapped_column(BigInteger)
    errors_until_us: Mapped[int] = mapped_column(BigInteger)


class Refund(Base):
    """Money that goes back. `state`: due, done (the provider said so) or failed (a person looks).

    `cause`: late, second_payment, wrong_amount, wrong_currency, unknown_claim, rejected, not_new,
    team_failed, crowd_difference, upgrade_guarantee or `after_sale:<request id>`. `units` > 0 asks
    for `give_back` once done; `applied_*` is set when the settler commits that event.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("payment_id", "cause", name="refunds_once_per_cause"),
        CheckConstraint("amount_fen > 0", name="refunds_amount_positive"),
        CheckConstraint("units >= 0", name="refunds_units_not_negative"),
        Index("refunds_due", "next_at_ms", postgresql_where=text("state = 'due'")),
        Index("refunds_order", "order_id"),
        Index(  # the sum of a day, for the board
            "refunds_times",
            "done_at_ms",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
        Index(  # done, and the units not yet known to be back
            "refunds_units_due",
            "done_at_ms",
            postgresql_where=text("state = 'done' AND units > 0 AND applied_seq IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    payment_id: Mapped[str] = mapped_column(Text)
    order_id: Mapped[str | None] = mapped_column(Text)
    claim_id: Mapped[str | None] = mapped_column(Text)
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    cause: Mapped[str] = mapped_column(Text)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    units: Mapped[int] = mapped_column(Integer, default=0)
    state: Mapped[str] = mapped_column(Text)
    requested_by: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    lease_until_ms: Mapped[int] = mapped_column(BigInteger, default=0)
    next_at_ms: Mapped[int] = mapped_column(BigInteger)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    done_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    applied_epoch: Mapped[int | None] = mapped_column(BigInteger)
    applied_seq: Mapped[int | None] = mapped_column(BigInteger)
