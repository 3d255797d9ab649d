"""Entries of waiting lists as settled; a rebuild of the hot state puts the lists back from them."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, SmallInteger, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Wait(Base):
    """Who waits for an offer, with all that their claim will say; gone once they do not any more.

    `place` counts from 1 per offer. Only the settler writes it.
    """

    __tablename__ = "waits"
    __table_args__ = (
        Unique("offer_id", "place", name="waits_place"),
        CheckConstraint("qty > 0", name="waits_qty"),
        Index("waits_shard", "shard", "offer_id"),
    )

    offer_id: Mapped[str] = mapped_column(ForeignKey("offers.id"), primary_key=True)
    buyer_id: Mapped[str] = mapped_column(Text, primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    qty: Mapped[int] = mapped_column(Integer)
    price_id: Mapped[str] = mapped_column(Text)
    idem_key: Mapped[str] = mapped_column(Text)
    body_hash: Mapped[str] = mapped_column(Text)
    touch: Mapped[str] = mapped_column(Text)
    place: Mapped[int] = mapped_column(BigInteger)
    joined_at_ms: Mapped[int] = mapped_column(BigInteger)
