"""Who may buy: the token's traits against the offer's audience, and a new customer's one right."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from engine import keys
from engine.commands import Reply
from engine.waiting import Waiting
from tests.engine.hotshard import Bench, bench
from tests.engine.seats import Hall, team_rules


@pytest.fixture
async def shard(hot: Redis, valkey_url: str) -> AsyncIterator[Bench]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield opened


async def rights(shard: Bench) -> dict[str, str]:
    """buyer → the claim that has their right of a new customer."""
    return await shard.inventory.hash_of(keys.groups(0) + "newcomers:cmp_a")


async def paid(shard: Bench, claim_id: str) -> None:
    await shard.inventory.pay_begin(0, claim_id, f"att-{claim_id}")
    assert (await shard.confirm(claim_id, f"att-{claim_id}", f"fct-{claim_id}")).what == "paid"


@pytest.mark.parametrize(
    ("audience", "welcome"),
    [
        ("all", ("", "n", "m", "b", "nm", "nb", "mb", "nmb")),
        ("members", ("m", "nm", "mb", "nmb")),
        ("bound", ("b", "nb", "mb", "nmb")),
        ("new", ("n", "nm", "nb", "nmb")),
    ],
)
async def test_a_token_without_the_trait_is_refused(
    shard: Bench, audience: str, welcome: tuple[str, ...]
) -> None:
    await shard.offer("ofr_1", 9, audience=audience)
    for traits in ("", "n", "m", "b", "nm", "nb", "mb", "nmb"):
        reply = await shard.claim("ofr_1", f"mbr_{traits}", traits=traits)
        if traits in welcome:
            assert reply.what == "held", (traits, reply)
        else:
            assert reply == Reply("not_for_you", (audience,)), traits


async def test_a_retry_of_a_held_claim_is_stored_whatever_the_token_says_now(shard: Bench) -> None:
    await shard.offer("ofr_1", 9, audience="new")
    held = await shard.claim("ofr_1", "mbr_1", traits="n")
    again = await shard.claim("ofr_1", "mbr_1", traits="m")
    assert again == Reply("stored", held.details)
    other = await shard.claim("ofr_1", "mbr_1", traits="m", key="another")
    assert other == Reply("not_for_you", ("new",))


async def test_an_offer_of_an_older_version_is_everybodys(shard: Bench) -> None:
    await shard.offer("ofr_1", 9)
    await shard.wire.call("HDEL", keys.offers(0) + "ofr_1", "audience")
    assert (await shard.claim("ofr_1", "mbr_1")).what == "held"
    assert (await shard.view()).offers["ofr_1"].config.audience == "all"


async def test_a_new_customer_has_one_right_in_a_campaign(shard: Bench) -> None:
    """Of flash and teams alike; it comes back with the units."""
    await shard.offer("ofr_1", 9, audience="new")
    await shard.offer("ofr_2", 9, audience="new")
    hall = Hall(shard)
    await hall.team_offer(newcomers_only=True)
    team_id, _ = await hall.opened("old")
    held = await shard.claim("ofr_1", "mbr_1", traits="n")
    claim_id = held.details[0]
    assert await rights(shard) == {"mbr_1": claim_id}
    used = Reply("limit_reached", ("newcomer", "1"))
    for attempt in ("ofr_1", "ofr_2"):
        assert await shard.claim(attempt, "mbr_1", traits="n", key="next") == used
    assert await hall.seat("mbr_1", team_id, traits="n", key="next") == used
    await shard.offer("ofr_b", 9, audience="new", campaign_id="cmp_b")  # another campaign's own
    other = await shard.claim("ofr_b", "mbr_1", traits="n", campaign_id="cmp_b", key="b")
    assert other.what == "held"

    await shard.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    assert await rights(shard) == {}
    seat = await hall.seat("mbr_1", team_id, traits="n", key="seat")
    assert (seat.what, await rights(shard)) == ("held", {"mbr_1": seat.details[0]})
    assert await shard.claim("ofr_1", "mbr_1", traits="n", key="last") == used


async def test_the_right_stays_until_no_unit_is_left(shard: Bench) -> None:
    await shard.offer("ofr_1", 9, audience="new")
    held = await shard.claim("ofr_1", "mbr_1", qty=2, traits="n")
    await paid(shard, held.details[0])
    await shard.inventory.give_back(0, held.details[0], units=1, refund_id="rfd_1")
    assert await rights(shard) == {"mbr_1": held.details[0]}
    await shard.inventory.give_back(0, held.details[0], units=1, refund_id="rfd_2")
    assert await rights(shard) == {}


async def test_a_late_payment_takes_the_right_again_if_it_is_free(shard: Bench) -> None:
    await shard.offer("ofr_1", 9, audience="new", late="retake")
    first = (await shard.claim("ofr_1", "mbr_1", traits="n")).details[0]
    await shard.inventory.release(0, first, attempt_id="", why="cancelled")
    second = (await shard.claim("ofr_1", "mbr_1", traits="n", key="second")).details[0]
    assert await shard.confirm(first, "att_1", "fct_1") == Reply("late", ("limit_reached",))
    await shard.inventory.release(0, second, attempt_id="", why="cancelled")
    assert (await shard.confirm(first, "att_1", "fct_2")).what == "retaken"
    assert await rights(shard) == {"mbr_1": first}


async def test_a_captain_and_a_crowds_buyer_take_it_too(shard: Bench) -> None:
    await shard.offer("ofr_t", 9, kind="team", late="new", team=team_rules(), audience="new")
    hall = Hall(shard)
    assert await hall.seat("mbr_1", traits="m") == Reply("not_for_you", ("new",))
    team_id, claim_id = await hall.opened("mbr_1", traits="n")
    assert await rights(shard) == {"mbr_1": claim_id}
    other, _ = await hall.opened("mbr_2", traits="n")
    assert await hall.seat("mbr_1", other, traits="n", key="k2") == Reply(
        "limit_reached", ("newcomer", "1")
    )
    assert (await hall.seat("mbr_3", team_id, traits="n")).what == "held"


async def test_who_waits_is_one_of_them_and_takes_the_right_with_the_units(shard: Bench) -> None:
    await shard.offer("ofr_1", 1, audience="new")
    waiting = Waiting(shard.wire, shard.inventory.epochs, shard.scripts)
    first = (await shard.claim("ofr_1", "mbr_1", traits="n")).details[0]

    async def join(buyer_id: str, traits: str) -> Reply:
        return await waiting.join(
            *(0,),
            offer_id="ofr_1",
            campaign_id="cmp_a",
            buyer_id=buyer_id,
            qty=1,
            price_id="prc_1",
            key="key",
            body_hash="h",
            traits=traits,
        )

    assert await join("mbr_2", "m") == Reply("not_for_you", ("new",))
    assert (await join("mbr_3", "n")).what == "waiting"
    await shard.inventory.release(0, first, attempt_id="", why="cancelled")
    (mine,) = (await rights(shard)).items()
    assert mine[0] == "mbr_3"
    assert (await shard.inventory.claim_state(0, mine[1]))["newcomer"] == "1"


async def test_only_a_held_claim_is_released_as_not_new(shard: Bench) -> None:
    await shard.offer("ofr_1", 9, audience="new")
    claim_id = (await shard.claim("ofr_1", "mbr_1", traits="n")).details[0]
    assert await shard.inventory.release(0, claim_id, attempt_id="", why="not_new") == Reply(
        "released"
    )
    other = (await shard.claim("ofr_1", "mbr_1", traits="n", key="k2")).details[0]
    await shard.inventory.pay_begin(0, other, "att_1")
    kept = await shard.inventory.release(0, other, attempt_id="att_1", why="not_new")
    assert kept == Reply("paying")
