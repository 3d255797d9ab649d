"""Poison: what cannot be settled goes aside with what follows it; everything else goes on."""

import msgspec
import pytest
from sqlalchemy import text

from campaigns.offer.models import Offer
from engine import keys
from engine.errors import Conflict, Missing
from engine.ids import now_ms
from tests.workers.acts import add_attempt, add_fact, begin_paying, held, pay
from tests.workers.laws import check_counters, rows
from tests.workers.stage import Stage
from workers.settle.dead_letters import discard, open_letters, retry

NOBODY = "pay_nobody_wrote"
_RENAME = text("UPDATE payment_attempts SET id = :new WHERE id = :old")
EMIT = """
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
redis.call('XADD', KEYS[2], seq .. '-0', unpack(ARGV))
return seq
"""


async def plant(stage: Stage, offer: Offer, **fields: str) -> int:
    """Append an event that no script of ours would write; its seq."""
    flat = [part for pair in fields.items() for part in pair]
    shard = offer.shard
    stream = keys.events(shard, stage.epochs.of(shard))
    seq: int = await stage.wire.call("EVAL", EMIT, 2, keys.meta(shard), stream, *flat)
    return seq


def like_a_claim(offer: Offer, number: int = 99, **changes: str) -> dict[str, str]:
    """The fields of a claim.held that could be settled."""
    fields = {
        "kind": "claim.held",
        "at_ms": str(now_ms()),
        "claim_id": f"clm-s{offer.shard}-e1-{number}-{'0' * 16}",
        "offer_id": offer.id,
        "campaign_id": offer.campaign_id,
        "version": "1",
        "buyer_id": "b-planted",
        "qty": "1",
        "price_id": "p1",
        "price_fen": "990",
        "expires_at_ms": "1700000060000",
        "key": "k",
        "body_hash": "h1",
        "touch": "",
    }
    return {**fields, **changes}


POISON: dict[str, dict[str, str]] = {
    "no kind": {"kind": ""},
    "unknown kind": {"kind": "claim.stolen"},
    "unknown field": {"colour": "red"},
    "no number": {"qty": "many"},
    "a fraction": {"price_fen": "9.9"},
    "beyond int32": {"qty": "4294967296"},
    "beyond int64": {"price_fen": "9223372036854775808"},
    "product beyond int64": {"qty": "2000000000", "price_fen": "9000000000000000000"},
    "negative": {"qty": "-1"},
    "NUL in a text": {"touch": "a\x00b"},
    "NUL in the key": {"key": "\x00"},
    "NUL in the claim's id": {"claim_id": "clm-\x00"},
    "NUL in the buyer": {"buyer_id": "\x00"},
    "no such offer": {"offer_id": "ofr_nobody"},
    "no such version": {"version": "77"},
}


async def test_poison_goes_aside_and_all_else_is_settled(stage: Stage) -> None:
    for number, (what, changes) in enumerate(POISON.items()):
        offer = await stage.offer(9)
        fields = like_a_claim(offer, number, **changes)
        alike = [{**fields, "claim_id": f"{fields['claim_id']}{n}"} for n in range(4)]
        wanted = [await plant(stage, offer, **alike[0])]  # first of its batch
        claims = [await held(stage, offer, "b1")]
        wanted.append(await plant(stage, offer, **alike[1]))  # amidst
        claims.append(await held(stage, offer, "b2"))
        wanted.append(await plant(stage, offer, **alike[2]))  # last
        await stage.settle()
        wanted.append(await plant(stage, offer, **alike[3]))  # alone
        await stage.settle()
        claims.append(await held(stage, offer, "b3"))
        await stage.settle()
        orders = await rows(
            stage, "SELECT claim_id FROM orders WHERE offer_id = :o ORDER BY buyer_id", o=offer.id
        )
        assert [row["claim_id"] for row in orders] == claims, what
        letters = await rows(
            stage, "SELECT seq, payload FROM dead_letters WHERE id > :n ORDER BY id", n=4 * number
        )
        assert [letter["seq"] for letter in letters] == wanted, what
        kept = [msgspec.msgpack.decode(letter["payload"]) for letter in letters]
        assert kept == alike, what
    at_end = "SELECT sum(seq)::int FROM shard_position"
    archived = "SELECT sum(last_seq - first_seq + 1)::int FROM event_batches"
    assert await stage.scalar(archived) == await stage.scalar(at_end) == 8 * len(POISON)
    await check_counters(stage)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "claim.released", "why": "lapsed", "attempt_id": "", "units": "2"},
        {"kind": "claim.paid", "fact_id": "txn_x", "attempt_id": "", "units": "1", "retaken": "0"},
        {"kind": "claim.paying", "attempt_id": NOBODY, "pay_expires_at_ms": "5"},
        {"kind": "claim.returned", "refund_id": "rfd_x", "units": "1", "left": "0"},
        {"kind": "payment.late", "fact_id": "txn_x", "attempt_id": "", "why": "refund"},
    ],
    ids=lambda fields: fields["kind"],
)
async def test_an_event_that_contradicts_the_rows_changes_nothing(
    stage: Stage, fields: dict[str, str]
) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    await stage.settle()
    before = await rows(stage, "SELECT * FROM orders"), await rows(stage, "SELECT * FROM offers")
    await plant(stage, offer, at_ms=str(now_ms()), claim_id=claim_id, offer_id=offer.id, **fields)
    await stage.settle()
    after = await rows(stage, "SELECT * FROM orders"), await rows(stage, "SELECT * FROM offers")
    assert after == before
    assert await stage.scalar("SELECT claim_id FROM dead_letters") == claim_id


async def test_an_event_of_another_offer_is_poison(stage: Stage) -> None:
    offer, other = await stage.offer(5), await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    fields = {"why": "lapsed", "attempt_id": "", "units": "1", "offer_id": other.id}
    await plant(
        stage, offer, kind="claim.released", at_ms=str(now_ms()), claim_id=claim_id, **fields
    )
    await stage.settle()
    assert await stage.scalar("SELECT claim_state FROM orders") == "held"
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 1
    await check_counters(stage)


async def follow_into_the_letters(stage: Stage, offer: Offer) -> str:
    """A claim whose paying had no attempt row: two letters in one batch, one in a later."""
    claim_id = await held(stage, offer, "b1", qty=2)
    await stage.settle()
    assert (await stage.inventory.pay_begin(offer.shard, claim_id, NOBODY)).what == "paying"
    fact_id = await add_fact(stage, offer, claim_id, NOBODY, fen=1_980)
    await stage.inventory.pay_confirm(
        offer.shard, claim_id, attempt_id=NOBODY, fact_id=fact_id, verdict="ok"
    )
    await stage.settle()
    late = await add_fact(stage, offer, claim_id, "pay_2", fen=1_980)
    await stage.inventory.pay_confirm(
        offer.shard, claim_id, attempt_id="pay_2", fact_id=late, verdict="ok"
    )
    await stage.settle()
    letters = await rows(stage, "SELECT claim_id FROM dead_letters WHERE state = 'open'")
    assert letters == [{"claim_id": claim_id}] * 3
    assert await stage.scalar("SELECT claim_state FROM orders") == "held"
    return claim_id


async def test_retry_settles_a_claims_letters_in_order_once_the_cause_is_gone(
    stage: Stage,
) -> None:
    offer = await stage.offer(5)
    claim_id = await follow_into_the_letters(stage, offer)
    async with stage.db.begin() as session:
        last = (await open_letters(session))[-1].id
    with pytest.raises(Conflict, match=NOBODY):
        async with stage.db.begin() as session:
            await retry(session, last)
    attempt_id = await add_attempt(stage, offer, claim_id, qty=2)
    async with stage.db.begin() as session:
        await session.execute(_RENAME, {"new": NOBODY, "old": attempt_id})
    async with stage.db.begin() as session:
        assert len(await retry(session, last)) == 3
    assert await rows(stage, "SELECT claim_state, state, paid_fen FROM orders") == [
        {"claim_state": "paid", "state": "paid", "paid_fen": 1_980}
    ]
    assert await stage.scalar("SELECT count(*) FROM refunds WHERE cause = 'second_payment'") == 1
    assert await stage.scalar("SELECT count(*) FROM dead_letters WHERE state = 'settled'") == 3
    await check_counters(stage)
    with pytest.raises(Missing):
        async with stage.db.begin() as session:
            await retry(session, last)
    # later events of the claim are settled as ever
    await pay(stage, offer, await held(stage, offer, "b2"))
    await stage.settle()
    assert await stage.scalar("SELECT sum(sold) FROM offers") == 3


async def test_discard_closes_a_claims_letters_without_effect(stage: Stage) -> None:
    offer = await stage.offer(5)
    claim_id = await follow_into_the_letters(stage, offer)
    before = await rows(stage, "SELECT * FROM orders")
    async with stage.db.begin() as session:
        first = (await open_letters(session))[0].id
        assert len(await discard(session, first, "looked at by hand")) == 3
    assert await rows(stage, "SELECT * FROM orders") == before
    notes = await rows(stage, "SELECT DISTINCT state, note FROM dead_letters")
    assert notes == [{"state": "discarded", "note": "looked at by hand"}]
    assert claim_id.startswith("clm-")


async def test_the_same_event_twice_is_settled_once(stage: Stage) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    await begin_paying(stage, offer, claim_id)
    fields = like_a_claim(offer, claim_id=claim_id)
    await plant(stage, offer, **fields)
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM orders") == 1
    assert await stage.scalar("SELECT claim_state FROM orders") == "paying"
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 1
    await check_counters(stage)
