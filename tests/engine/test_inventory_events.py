"""What the scripts write is what the readers decode; anything else is poison and says so."""

import msgspec
import pytest

from engine.events import ClaimHeld, ClaimReturned, decode
from engine.inventory import OfferConfig
from engine.replay.shard import Contradiction, Shard
from tests.engine.hotshard import Bench, config

RETURNED = {
    "kind": "claim.returned",
    "at_ms": "1700000000123",
    "claim_id": "clm-s0-e1-1-0123456789abcdef",
    "offer_id": "ofr_1",
    "refund_id": "rfd_1",
    "units": "1",
    "left": "0",
}


def test_entry_becomes_its_struct() -> None:
    event = decode(7, RETURNED)
    assert isinstance(event, ClaimReturned)
    assert (event.seq, event.at_ms, event.units, event.left) == (7, 1_700_000_000_123, 1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "claim.eaten"},
        {"kind": ""},
        {"units": "1.5"},
        {"units": "one"},
        {"units": ""},
        {"units": "-1"},
        {"units": str(2**53 + 1)},
        {"units": str(2**64)},
        {"more": "1"},
        {"left": None},
        {"kind": None},
    ],
)
def test_poison_is_told_apart(changes: dict[str, str | None]) -> None:
    fields = {name: text for name, text in {**RETURNED, **changes}.items() if text is not None}
    with pytest.raises(msgspec.ValidationError):
        decode(7, fields)


async def test_text_of_clients_comes_through_as_it_is(shard: Bench) -> None:
    """Keys and touches are the only free text in an event."""
    await shard.offer("ofr_1", 9)
    for key, touch in (("k v", "房间:1 π"), ("a|b:c", ""), ("{x}\\n", '"quoted"'), ("1e3", "nan")):
        held = await shard.claim("ofr_1", "mbr_1", key=key, touch=touch)
        assert held.what == "held"
        event = (await shard.events())[-1]
        assert isinstance(event, ClaimHeld)
        assert (event.key, event.touch, event.claim_id) == (key, touch, held.details[0])
        assert (await shard.claim("ofr_1", "mbr_1", key=key, touch=touch)).what == "stored"


def test_config_is_flat_with_the_newest_price_first() -> None:
    rules = config(prices=(("a", 3, 0), ("c", 1, 9_007_199_254_740_993), ("b", 2, 5)))
    assert rules.flat()["prices"] == "c|1|9007199254740993 b|2|5 a|3|0"
    assert set(rules.flat()) == set(OfferConfig.__struct_fields__) - {"team"}
    assert msgspec.json.decode(rules.json()) == rules.flat()


def held(seq: int, **changes: object) -> ClaimHeld:
    fields: dict[str, object] = {
        "seq": seq,
        "at_ms": 1,
        "claim_id": f"clm-s0-e1-{seq}-0123456789abcdef",
        "offer_id": "ofr_1",
        "campaign_id": "cmp_a",
        "version": 1,
        "buyer_id": "mbr_1",
        "qty": 1,
        "price_id": "prc_1",
        "price_fen": 1_000,
        "expires_at_ms": 2,
        "key": f"k{seq}",
        "body_hash": "",
        "touch": "",
    }
    return msgspec.convert({**fields, **changes}, ClaimHeld)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (held(3), "seq 3 follows 1"),
        (held(1), "seq 1 follows 1"),
        (held(2, qty=3), "3 taken of 2"),
        (held(2, qty=2), "limit"),
        (held(2, offer_id="ofr_9"), "no offer"),
        (decode(2, RETURNED), "no claim"),
    ],
)
def test_replay_refuses_what_no_script_can_have_said(event: ClaimHeld, why: str) -> None:
    model = Shard(shard=0, epoch=1, configs={"ofr_1": config(per_buyer_max=1)})
    opened = {"kind": "offer.opened", "at_ms": "1", "offer_id": "ofr_1", "command_id": "c"}
    model.apply(decode(1, {**opened, "total": "2"}))
    with pytest.raises(Contradiction, match=why):
        model.apply(event)
