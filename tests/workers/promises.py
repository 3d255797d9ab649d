"""Offers under an upgrade guarantee, for tests: a crowd with teams and a regular sale beside it."""

from typing import Any, NamedTuple

from campaigns.offer.models import GUARANTEE_FIELD, Offer
from campaigns.refund.models import Refund
from campaigns.refund.service import request_refund
from engine.audit.run import run_audit
from engine.ids import new_id, order_id_of
from engine.offers import TeamRules
from tests.workers.acts import begin_paying, confirm, held
from tests.workers.seats import HOUR_MS, Steps, crowd_of, decided, joined
from tests.workers.stage import Stage
from workers.crowds import CrowdBooks
from workers.loop import Parts

STEPS: Steps = ((2, "p1", 700), (4, "p3", 600))
TURNS_MAX = 60


class Shop(NamedTuple):
    """One SKU in one campaign: a crowd of 700, then 600 fen, teams and a regular sale at 990."""

    crowd: Offer
    teams: Offer
    regular: Offer


async def shop(stage: Stage, *, promised: bool = True, size: int = 2, total: int = 60) -> Shop:
    """All three open and settled; seats of a team and the crowd's are of one unit or more."""
    rules = TeamRules(
        size=0,
        seat_qty=0,
        term_ms=0,
        closing_max_ms=0,
        crowd_id=new_id("tem-c"),
        steps=STEPS,
        charging="regular",
    )
    wide = {"per_order_max": 9, "per_buyer_max": 99, "per_campaign_max": 99}
    crowd = await stage.offer(total, kind="crowd", late="seat", team=rules, **wide)
    if promised:
        await stage.run(
            "UPDATE offers SET config = jsonb_set(config, ARRAY[:field], 'true') WHERE id = :id",
            field=GUARANTEE_FIELD,
            id=crowd.id,
        )
    seats = TeamRules(size=size, seat_qty=1, term_ms=HOUR_MS, closing_max_ms=HOUR_MS)
    teams = await stage.offer_beside(crowd, total, kind="team", late="new", team=seats)
    regular = await stage.offer_beside(crowd, total, kind="regular", late="refund", team=None)
    return Shop(crowd, teams, regular)


async def bought(stage: Stage, offer: Offer, buyer: str, *, qty: int = 1, key: str = "k") -> str:
    """A paid order without a seat; its claim."""
    claim_id = await held(stage, offer, buyer, qty=qty, key=key)
    attempt_id = await begin_paying(stage, offer, claim_id, qty=qty)
    await confirm(stage, offer, claim_id, attempt_id, qty=qty)
    return claim_id


async def forms(stage: Stage, offer: Offer, *, paid: int = 2) -> str:
    """So many buyers pay, then the crowd's end passes; settled, not booked. Its id."""
    for number in range(paid):
        await joined(stage, offer, f"c{number}", "")
    assert await decided(stage, offer, crowd_of(offer)) == ("formed" if paid >= 2 else "failed")
    return crowd_of(offer)


def books(stage: Stage, **other: Any) -> CrowdBooks:
    """A worker that has just started; the loop needs no provider."""
    provider: Any = None
    db = other.get("db", stage.db)
    return CrowdBooks(Parts(db, stage.inventory, provider, "sandbox", stage.settings))


async def book_all(stage: Stage, worker: CrowdBooks | None = None) -> None:
    """Turns until nothing is left."""
    worker = worker or books(stage)
    for _ in range(TURNS_MAX):
        due = "SELECT count(*) FROM teams WHERE guarantee_due OR (kind = 'crowd' AND"
        await worker.run_once()
        if not await stage.scalar(f"{due} decided_at_ms > 0 AND booked_at_ms IS NULL)"):
            return
    raise AssertionError(f"still something to book after {TURNS_MAX} turns")


async def asks(stage: Stage, claim_id: str, units: int = 1) -> Refund:
    """The buyer gives units back for their price."""
    order_id = order_id_of(claim_id)
    buyer = str(await stage.scalar("SELECT buyer_id FROM orders WHERE id = :id", id=order_id))
    return await request_refund(
        stage.db,
        order_id=order_id,
        request_id=new_id("req"),
        units=units,
        amount_fen=None,
        actor=buyer,
        buyer_id=buyer,
    )


async def hold_the_laws(stage: Stage) -> None:
    """The laws of shares and refunds on what is there; refunds need not have been sent."""
    report = await run_audit(stage.db, stage.wire)
    for law in ("M4", "M5", "M9", "T5"):
        assert report.law(law).ok, report.law(law).problems
