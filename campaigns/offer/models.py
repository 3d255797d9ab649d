"""Offers with their guarded counters, and the commands that open, restock and close them.

The counters are the settler's: `held + sold <= total` is the SQL guard behind the script.
A command is committed before its script runs; `applied_seq` is set only when the settler
commits the event that carries the command's id.
"""

from collections.abc import Mapping
from typing import Any

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
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base

# In `config` beside what the hot store is told, in ms: the offer is opened by a room's host and
# then lasts so long. Its window is empty until then.
LAUNCH_FIELD = "launch_ms"
# Also there: the ids of the stores that sell it (missing or empty: all), and how many days after
# its forming a group buy's goods arrive.
STORES_FIELD = "stores"
READY_FIELD = "ready_after_days"
# True there: a crowd whose difference goes to team and regular orders of its SKU as well.
GUARANTEE_FIELD = "upgrade_guarantee"


def awaits_launch(config: Mapping[str, Any]) -> bool:
    """Whether an offer's `config` is that of one whose host has not launched it yet."""
    return LAUNCH_FIELD in config and config["starts_at_ms"] >= config["ends_at_ms"]


class Offer(Base):
    """One SKU at a price in a campaign. `state`: scheduled, open, closed, frozen, cancelled or
    finishing (cancelled, and its open teams go on).

    `config` is what `offer_open` told the hot store (prices, window, limits, deadlines); it
    changes once, when a host launches the offer, before that script has run.
    """

    __tablename__ = "offers"
    __table_args__ = (
        CheckConstraint("held >= 0 AND sold >= 0 AND total >= 0", name="offers_not_negative"),
        CheckConstraint("held + sold <= total", name="offers_guard"),
        Index("offers_campaign", "campaign_id"),
        Index("offers_cancelled", "shard", "id", postgresql_where=text("state = 'cancelled'")),
        Index("offers_sku", "sku_id"),  # the price guard looks for what is on sale of a SKU
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    version: Mapped[int] = mapped_column(Integer)
    shard: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[str] = mapped_column(Text)
    sku_id: Mapped[str] = mapped_column(ForeignKey("skus.id"))
    state: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB)
    total: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger, default=0)
    sold: Mapped[int] = mapped_column(BigInteger, default=0)


class OfferCommand(Base):
    """An `open`, `restock`, `close` or `cancel` that HQ decided; idempotent by `id`."""

    __tablename__ = "offer_commands"
    __table_args__ = (
        Index("offer_commands_due", "created_at_ms", postgresql_where=text("applied_seq IS NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    offer_id: Mapped[str] = mapped_column(ForeignKey("offers.id"))
    shard: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[str] = mapped_column(Text)
    units: Mapped[int] = mapped_column(BigInteger, default=0)
    reason: Mapped[str] = mapped_column(Text, default="")
    actor: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    applied_epoch: Mapped[int | None] = mapped_column(BigInteger)
    applied_seq: Mapped[int | None] = mapped_column(BigInteger)
