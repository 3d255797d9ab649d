"""A campaign is edited as a draft; what is published is an immutable version.

`state` holds what people decided (`draft, in_review, rejected, scheduled, cancelled`);
running and ended follow from the window and the clock, never from a column a timer writes.
"""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Campaign(Base):
    """A dated selling event; `shard` is given when it is published and never changes."""

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    draft: Mapped[dict[str, Any]] = mapped_column(JSONB)
    version: Mapped[int] = mapped_column(Integer, default=0)  # latest published, 0 = none yet
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    created_by: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    review_note: Mapped[str] = mapped_column(Text, default="")
    cancel_note: Mapped[str] = mapped_column(Text, default="", server_default="")
    cancelled_by: Mapped[str | None] = mapped_column(Text)
    cancelled_at_ms: Mapped[int | None] = mapped_column(BigInteger)


class CampaignVersion(Base):
    """What was published: window, offers, prices, limits, split plan, landing. Never changed."""

    __tablename__ = "campaign_versions"
    __table_args__ = (
        CheckConstraint(
            "(body -> 'split_plan')"
            " - '{promoter_bps,upline_bps,store_bps,level_two,cap_bps}'::text[] = '{}'",
            name="campaign_versions_two_levels",
        ),
    )

    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSONB)
    published_by: Mapped[str] = mapped_column(Text)
    published_at_ms: Mapped[int] = mapped_column(BigInteger)
