"""What customers, provider and HQ do, for settler tests: rows first, then the script, as in life.

Each act is what the API or a worker does in one go. The halves are here too, so that a test can
lose the hot store between a committed row and its event.
"""

from sqlalchemy import text

from campaigns.offer.models import Offer, OfferCommand
from campaigns.payment.models import PaymentAttempt, PaymentFact
from campaigns.refund.models import Refund
from engine.ids import new_id, now_ms, order_id_of
from engine.inventory import Reply
from tests.workers.stage import Stage

PRICE_FEN = 990


async def held(stage: Stage, offer: Offer, buyer: str, *, qty: int = 1, key: str = "k-1") -> str:
    """A claim that must succeed; its id."""
    reply = await stage.claim(offer, buyer, qty=qty, key=key)
    assert reply.what == "held", reply
    return reply.details[0]


async def add_attempt(stage: Stage, offer: Offer, claim_id: str, *, qty: int = 1) -> str:
    """The row of an open payment attempt; its script has not run."""
    now = now_ms()
    attempt = PaymentAttempt(
        id=new_id("pay"),
        claim_id=claim_id,
        order_id=order_id_of(claim_id),
        shard=offer.shard,
        amount_fen=PRICE_FEN * qty,
        state="open",
        reason="",
        pay_url="",
        created_at_ms=now,
        pay_expires_at_ms=now + 120_000,
        next_at_ms=now + 120_000,
        last_error="",
    )
    async with stage.db.begin() as session:
        session.add(attempt)
    return attempt.id


async def begin_paying(stage: Stage, offer: Offer, claim_id: str, *, qty: int = 1) -> str:
    """Row and script: the claim is paying; the attempt's id."""
    attempt_id = await add_attempt(stage, offer, claim_id, qty=qty)
    reply = await stage.inventory.pay_begin(offer.shard, claim_id, attempt_id)
    assert reply.what == "paying", reply
    return attempt_id


async def add_fact(
    stage: Stage, offer: Offer, claim_id: str, attempt_id: str, *, fen: int, verdict: str = "ok"
) -> str:
    """The row of an undecided payment fact; its script has not run."""
    now = now_ms()
    fact = PaymentFact(
        id=new_id("txn"),
        attempt_id=attempt_id,
        claim_id=claim_id,
        order_id=order_id_of(claim_id),
        shard=offer.shard,
        amount_fen=fen,
        currency="CNY",
        verdict=verdict,
        source="callback",
        paid_at_ms=now,
        received_at_ms=now,
    )
    async with stage.db.begin() as session:
        session.add(fact)
    return fact.id


async def confirm(
    stage: Stage,
    offer: Offer,
    claim_id: str,
    attempt_id: str,
    *,
    qty: int = 1,
    fen: int | None = None,
    verdict: str = "ok",
) -> tuple[str, Reply]:
    """Fact and script; the fact's id and what came of it."""
    amount = PRICE_FEN * qty if fen is None else fen
    fact_id = await add_fact(stage, offer, claim_id, attempt_id, fen=amount, verdict=verdict)
    reply = await stage.inventory.pay_confirm(
        offer.shard, claim_id, attempt_id=attempt_id, fact_id=fact_id, verdict=verdict
    )
    return fact_id, reply


async def pay(stage: Stage, offer: Offer, claim_id: str, *, qty: int = 1) -> str:
    """Paying and paid; the fact's id."""
    attempt_id = await begin_paying(stage, offer, claim_id, qty=qty)
    fact_id, reply = await confirm(stage, offer, claim_id, attempt_id, qty=qty)
    assert reply.what == "paid", reply
    return fact_id


async def add_refund(stage: Stage, offer: Offer, claim_id: str, fact_id: str, *, units: int) -> str:
    """The row of a refund that the provider has done; its units are not back yet."""
    refund_id, now = new_id("rfd"), now_ms()
    async with stage.db.begin() as session:
        session.add(
            Refund(
                id=refund_id,
                payment_id=fact_id,
                order_id=order_id_of(claim_id),
                claim_id=claim_id,
                shard=offer.shard,
                cause=f"after_sale:{refund_id}",
                amount_fen=PRICE_FEN * units,
                units=units,
                state="done",
                requested_by="buyer",
                created_at_ms=now,
                next_at_ms=now,
                last_error="",
                done_at_ms=now,
            )
        )
        await session.execute(
            text(
                "UPDATE orders SET refunded_fen = least(paid_fen, refunded_fen + :fen)"
                " WHERE payment_id = :fact"
            ),
            {"fen": PRICE_FEN * units, "fact": fact_id},
        )
    return refund_id


async def give_back(
    stage: Stage, offer: Offer, claim_id: str, fact_id: str, *, units: int
) -> Reply:
    """Refund row and script."""
    refund_id = await add_refund(stage, offer, claim_id, fact_id, units=units)
    return await stage.inventory.give_back(offer.shard, claim_id, units=units, refund_id=refund_id)


async def add_command(stage: Stage, offer: Offer, kind: str, units: int = 0) -> str:
    """The row of an offer command; its script has not run."""
    command_id = new_id("cmd")
    async with stage.db.begin() as session:
        session.add(
            OfferCommand(
                id=command_id,
                offer_id=offer.id,
                shard=offer.shard,
                kind=kind,
                units=units,
                reason="",
                actor="hq",
                created_at_ms=now_ms(),
            )
        )
    return command_id


async def restock(stage: Stage, offer: Offer, units: int) -> Reply:
    """Command row and script."""
    command_id = await add_command(stage, offer, "restock", units)
    return await stage.inventory.offer_restock(
        offer.shard, offer.id, command_id=command_id, units=units
    )


async def sell_out(stage: Stage, offer: Offer, prefix: str, *, buyers_max: int = 500) -> int:
    """Fresh buyers claim one unit each until the offer says sold out; how many got one."""
    for number in range(buyers_max):
        reply = await stage.claim(offer, f"{prefix}-{number}")
        if reply.what == "sold_out":
            return number
        assert reply.what == "held", reply
    raise AssertionError(f"{buyers_max} claims held and still not sold out")
