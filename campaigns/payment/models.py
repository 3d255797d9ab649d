"""Payment attempts (what we ask for) and payment facts (what the provider says happened).

Both are committed before the script they lead to. `applied_*` is set only when the settler
commits the event that carries the row's id.
"""

from sqlalchemy import BigInteger, Index, Integer, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class PaymentAttempt(Base):
    """`id` is the number the provider knows (out_trade_no).

    `state`: `begun` (the script has not answered yet; may not be sent), `open` (may be sent),
    `void` (may never be sent any more), `closed` (the provider's receipt), `paid`.
    A closed or void attempt is the receipt that releases its claim.
    """

    __tablename__ = "payment_attempts"
    __table_args__ = (
        Index("payment_attempts_claim", "claim_id"),
        Index(
            "payment_attempts_due",
            "next_at_ms",
            postgresql_where=text("state IN ('begun', 'open')"),
        ),
        Index(  # receipts whose claim is not yet known to be released
            "payment_attempts_receipts",
            "next_at_ms",
            postgresql_where=text(
                "state IN ('closed', 'void') AND released_seq IS NULL AND reason <> 'refused'"
            ),
        ),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    claim_id: Mapped[str] = mapped_column(Text)
    order_id: Mapped[str] = mapped_column(Text)
    shard: Mapped[int] = mapped_column(SmallInteger)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text, default="")
    pay_url: Mapped[str] = mapped_column(Text, default="")
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    pay_expires_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    send_until_ms: Mapped[int] = mapped_column(BigInteger, default=0)  # lease of a prepay call
    lease_until_ms: Mapped[int] = mapped_column(BigInteger, default=0)  # lease of the closer
    next_at_ms: Mapped[int] = mapped_column(BigInteger)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    last_error: Mapped[str] = mapped_column(Text, default="")
    applied_epoch: Mapped[int | None] = mapped_column(BigInteger)  # of its claim.paying
    applied_seq: Mapped[int | None] = mapped_column(BigInteger)
    released_seq: Mapped[int | None] = mapped_column(BigInteger)  # of its claim.released


class PaymentFact(Base):
    """A payment the provider confirmed; `id` is the provider's transaction number.

    `verdict`: ok, wrong_amount, wrong_currency or unknown_claim (decided against the attempt).
    `outcome`: None until decided, then paid, late, refused or unknown.
    """

    __tablename__ = "payment_facts"
    __table_args__ = (
        Index("payment_facts_due", "received_at_ms", postgresql_where=text("outcome IS NULL")),
        Index("payment_facts_claim", "claim_id"),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    attempt_id: Mapped[str] = mapped_column(Text)
    claim_id: Mapped[str | None] = mapped_column(Text)
    order_id: Mapped[str | None] = mapped_column(Text)
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    amount_fen: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    paid_at_ms: Mapped[int] = mapped_column(BigInteger)
    received_at_ms: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(Text)
    applied_epoch: Mapped[int | None] = mapped_column(BigInteger)
    applied_seq: Mapped[int | None] = mapped_column(BigInteger)
