"""Pick-ups: where an order waits for its customer, since when, and who handed it over.

A row exists once the customer chose a store, or the goods were there. `serial` is the number in
the pick-up code (codes.py), which itself is never stored.
"""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Integer, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class PickUp(Base):
    """Of one order. `chosen_by` is empty when the store is that of the order's credit.

    `units`: handed over; refunded ones were not.
    """

    __tablename__ = "pick_ups"
    __table_args__ = (
        Unique("serial", name="pick_ups_serial"),
        CheckConstraint(
            "(fulfilled_at_ms IS NULL) = (units IS NULL) AND units > 0", name="pick_ups_units"
        ),
        CheckConstraint(
            "fulfilled_at_ms IS NULL OR ready_at_ms IS NOT NULL", name="pick_ups_ready_first"
        ),
    )

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    serial: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    store_id: Mapped[str] = mapped_column(ForeignKey("stores.id"))
    chosen_by: Mapped[str] = mapped_column(Text)
    ready_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    ready_by: Mapped[str | None] = mapped_column(Text)
    units: Mapped[int | None] = mapped_column(Integer)
    fulfilled_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    fulfilled_by: Mapped[str | None] = mapped_column(Text)
