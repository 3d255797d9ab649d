"""A claim is credited as of its own moment, however late it is settled."""

from sqlalchemy import text

from campaigns.people.models import Binding, GuideTerm
from engine.ids import now_ms, parse_claim_id
from tests.waiting import eventually
from tests.workers.acts import held
from tests.workers.laws import rows
from tests.workers.stage import Stage

_CREDIT = text("SELECT credit -> 'credit' FROM orders WHERE claim_id = :c")


async def _credited(stage: Stage, claim_id: str) -> tuple[str | None, str | None, str | None]:
    async with stage.db.begin() as session:
        credit = await session.scalar(_CREDIT, {"c": claim_id})
    return credit["promoter_id"], credit["upline_id"], credit["store_id"]


async def test_a_transfer_between_claim_and_settling_changes_nothing(stage: Stage) -> None:
    await stage.people()
    offer = await stage.offer(5)
    before = await held(stage, offer, "m1", key="before")
    parsed = parse_claim_id(before)
    assert parsed is not None
    transfer_ms = now_ms() + 2
    async with stage.db.begin() as session:
        session.add(Binding(member_id="m1", from_ms=transfer_ms, guide_id="g2"))
        session.add(GuideTerm(guide_id="g1", from_ms=transfer_ms, store_id="s1", recruiter_id=None))
    await eventually(lambda: now_ms() > transfer_ms + 2)
    after = await held(stage, offer, "m1", key="after")
    assert await rows(stage, "SELECT id FROM orders") == []
    await stage.settle()
    assert await _credited(stage, before) == ("g1", "g2", "s1")
    assert await _credited(stage, after) == ("g2", None, "s1")
