"""An event is missing in the middle: the shard is sealed and says so until a person goes on."""

import json
import re
from pathlib import Path

import pytest

from engine import keys
from tests.system.acts import claims, end_ordered, look, sell_out
from tests.system.house import House, kaituan, lived_in, opened_house
from tests.waiting import eventually

pytestmark = pytest.mark.slow


async def test_a_planted_gap_seals_the_shard(tmp_path: Path) -> None:
    """In a house of its own: nobody else shall find a sealed shard when this fails."""
    async with opened_house() as whole, lived_in(whole, tmp_path / "history") as house:
        await a_gap_seals_until_a_person_goes_on(house)


async def a_gap_seals_until_a_person_goes_on(house: House) -> None:
    sale = await house.sale(20)
    other = await house.sale_elsewhere({sale.shard}, 20)
    with house.frozen("settle"):
        made = list((await claims(house, sale, "gap", 5)).items())
        seq = re.findall(r"-(\d+)-", made[2][1])[-1]
        events = keys.events(sale.shard, await house.epoch(sale.shard))
        assert await house.ask("XDEL", events, f"{seq}-0") == 1

    async def is_sealed() -> bool:
        return (await house.ready()).status == 503

    await eventually(is_sealed)
    parts = json.loads((await house.ready()).body)["parts"]
    assert {name for name, fine in parts.items() if not fine} == {f"shard_{sale.shard}"}
    status, told = await house.buyer("gap_x").try_claim(
        sale.offer_id, sale.price_id, key="key-meanwhile"
    )
    assert (status, told["code"]) == (503, "reopening")
    elsewhere = await claims(house, other, "elsewhere", 2)
    await end_ordered(house, elsewhere)
    told_red = await kaituan(house.environ, "audit", "--stale-ms", "0")
    assert told_red.code == 1, told_red.text
    assert re.search(r"I10\s+BROKEN", told_red.text), told_red.text
    refused = await kaituan(house.environ, "rebuild", str(sale.shard))
    assert refused.code != 0, refused.text
    healed = await kaituan(house.environ, "rebuild", str(sale.shard), "--past-gap")
    assert healed.code == 0, healed.text
    await house.until_ready()
    states = await look(house, dict(made))
    assert list(states.values()) == ["held"] * 2 + ["claim_lost"] * 3
    await sell_out(house, sale, "after_gap")
    await house.lawful("I1", "I4", "I6", "I10")
