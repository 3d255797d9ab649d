"""Teams as the settler writes them, and the commands on them that HQ decided.

A crowd is the one team of its offer: kind `crowd`, opened by nobody, size 0. Seats are orders:
`orders.team_id` and `orders.seat` say who sits where.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base

UNDECIDED = ("opening", "forming", "reached", "closing")


class Team(Base):
    """`state`: opening, forming, reached (crowd), closing, formed or failed.

    `paid` and `subsidy` are seats; `step` the crowd's highest latched one (0: none).
    `booked_at_ms`: its members' splits or refunds are all written; a crowd's come in batches.
    `reached_at_ms`: when its first step latched; its buyers cannot leave it from then on.
    `guarantee_due`: a formed crowd's difference is not yet written for all other orders of its SKU.
    """

    __tablename__ = "teams"
    __table_args__ = (
        CheckConstraint("kind = 'crowd' OR paid + subsidy <= size", name="teams_capacity"),
        Index("teams_offer", "offer_id", "state", "deadline_ms"),
        Index(
            "teams_undecided",
            "shard",
            "deadline_ms",
            postgresql_where=text("decided_at_ms IS NULL"),
        ),
        Index(
            "teams_to_book",
            "decided_at_ms",
            postgresql_where=text("decided_at_ms IS NOT NULL AND booked_at_ms IS NULL"),
        ),
        Index("teams_guarantee", "decided_at_ms", postgresql_where=text("guarantee_due")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    offer_id: Mapped[str] = mapped_column(Text)
    campaign_id: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    opener_id: Mapped[str] = mapped_column(Text)
    captain_id: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    paid: Mapped[int] = mapped_column(Integer)
    subsidy: Mapped[int] = mapped_column(Integer)
    step: Mapped[int] = mapped_column(Integer)
    opened_at_ms: Mapped[int] = mapped_column(BigInteger)
    deadline_ms: Mapped[int] = mapped_column(BigInteger)
    decided_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    booked_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    reached_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    guarantee_due: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class TeamCommand(Base):
    """A `subsidise` that HQ decided, or an `honour` that a cancelled campaign had promised:
    `seats` of a team for `amount_fen`; idempotent by `id`.

    `outcome` says why it could not be done (over_budget, no_seat, not_open); NULL: applied, or
    still to be.
    """

    __tablename__ = "team_commands"
    __table_args__ = (
        CheckConstraint("seats > 0", name="team_commands_seats"),
        Index(
            "team_commands_due",
            "created_at_ms",
            postgresql_where=text("applied_seq IS NULL AND outcome IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    offer_id: Mapped[str] = mapped_column(Text)
    shard: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[str] = mapped_column(Text)
    seats: Mapped[int] = mapped_column(Integer)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(Text)
    applied_epoch: Mapped[int | None] = mapped_column(BigInteger)
    applied_seq: Mapped[int | None] = mapped_column(BigInteger)
