"""An order is a claim made durable. The settler writes it, from events only.

`claim_state` (held, paying, paid, returned, released) and what stands beside it is what a
rebuild of the hot state reads; `state` is the order's own life, money included.
"""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Order(Base):
    """`qty` units at `unit_price_fen`; `units` are those still held or sold for it.

    `state`: open, paid, ready, fulfilled, completed, released, rejected, refunding, refunded.
    `credit` snapshots who is credited and why: promoter, upline, store, rule, plan in bps.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("units >= 0 AND units <= qty", name="orders_units"),
        CheckConstraint("refunded_fen >= 0 AND refunded_fen <= paid_fen", name="orders_refunds"),
        CheckConstraint(
            "credit - '{plan,credit,why}'::text[] = '{}'"
            " AND (credit -> 'plan') - '{promoter_bps,upline_bps,store_bps,level_two,cap_bps}'"
            "::text[] = '{}' AND (credit -> 'credit')"
            " - '{promoter_id,upline_id,store_id,buyer_guide_id}'::text[] = '{}'",
            name="orders_two_levels",
        ),
        Index("orders_offer", "offer_id", "claim_state"),
        Index("orders_buyer", "buyer_id", "claimed_at_ms"),
        Index("orders_waiting", "shard", "claim_state", "expires_at_ms"),
        # A block range costs the settler next to nothing; the board looks at one day.
        Index(
            "orders_times",
            "claimed_at_ms",
            "paid_at_ms",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
        Index("orders_team", "team_id", postgresql_where=text("team_id IS NOT NULL")),
        Index("orders_release_due", "id", postgresql_where=text("release_due")),
        Index("orders_newcomers", "buyer_id", postgresql_where=text("newcomer")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    claim_id: Mapped[str] = mapped_column(Text, unique=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    offer_id: Mapped[str] = mapped_column(Text)
    campaign_id: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer)
    buyer_id: Mapped[str] = mapped_column(Text)
    qty: Mapped[int] = mapped_column(Integer)
    units: Mapped[int] = mapped_column(Integer)
    price_id: Mapped[str] = mapped_column(Text)
    unit_price_fen: Mapped[int] = mapped_column(BigInteger)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    claim_state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="")
    claimed_at_ms: Mapped[int] = mapped_column(BigInteger)
    expires_at_ms: Mapped[int] = mapped_column(BigInteger)
    pay_expires_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    idem_key: Mapped[str] = mapped_column(Text)
    body_hash: Mapped[str] = mapped_column(Text)
    attempt_id: Mapped[str | None] = mapped_column(Text)  # of the latest claim.paying
    payment_id: Mapped[str | None] = mapped_column(Text)  # the fact by which it stands
    paid_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    paid_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    refunded_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    credit: Mapped[dict[str, Any]] = mapped_column(JSONB)
    touch: Mapped[str] = mapped_column(Text, default="")
    team_id: Mapped[str | None] = mapped_column(Text)
    # '' none, `taken`, or `left`; what its team was decided with stays `taken`
    seat: Mapped[str] = mapped_column(Text, default="", server_default="")
    consent: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    newcomer: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    # What was split when it stood: of a team's order when the team formed. NULL: not yet.
    split_fen: Mapped[int | None] = mapped_column(BigInteger)
    # What a unit costs since its crowd formed at a lower price than `unit_price_fen`.
    final_price_fen: Mapped[int | None] = mapped_column(BigInteger)
    release_due: Mapped[bool] = mapped_column(default=False)  # rejected: its claim must go back
