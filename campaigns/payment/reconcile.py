"""Reading the provider's bill of a closed period: what was paid and never told is recorded.

A callback may be lost and its attempt be closed already (the provider closed it and took the
money all the same); then nobody asks again, and only the bill knows. Each payment on it that has
no fact becomes one, and goes its ordinary way: late, and refunded or retaken.
"""

from sqlalchemy import select

from campaigns.payment.facts import record_payment
from campaigns.payment.models import PaymentFact
from campaigns.payment.provider import BillRow, Notification, PaymentProvider
from engine.db import Database


async def record_bill(
    db: Database, provider: PaymentProvider, period: str, *, provider_name: str
) -> list[str]:
    """Record the payments of `period` that no fact tells of; their ids. Idempotent.

    Raises ProviderRefused while the period is open, ProviderUnreachable without an answer.
    """
    bill = await provider.bill(period)
    payments = {row.transaction_id: row for row in bill.rows if row.kind == "payment"}
    async with db.begin() as session:
        known = await session.scalars(
            select(PaymentFact.id).where(PaymentFact.id.in_(list(payments)))
        )
        missing = sorted(payments.keys() - set(known))
    for fact_id in missing:
        await record_payment(
            db, _told(payments[fact_id]), provider_name=provider_name, source="bill"
        )
    return missing


def _told(row: BillRow) -> Notification:
    return Notification(
        attempt_id=row.attempt_id,
        transaction_id=row.transaction_id,
        amount_fen=row.amount_fen,
        currency=row.currency,
        paid_at_ms=row.at_ms,
    )
