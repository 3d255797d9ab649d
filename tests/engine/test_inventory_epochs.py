"""A process's copy of the epochs: fresh after a doubt, kept while PostgreSQL is away."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import update

from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.models import ShardPosition
from engine.shards import Epochs, shard_of
from tests.waiting import eventually


@pytest_asyncio.fixture
async def epochs(db: Database) -> AsyncIterator[Epochs]:
    """Shard 0 is in epoch 3; nothing is read again for an hour unless in doubt."""
    async with db.begin() as session:
        session.add(
            ShardPosition(shard=0, epoch=3, seq=0, run_id="", state="open", updated_at_ms=now_ms())
        )
    one = Epochs(db, every_ms=3_600_000)
    await one.start()
    yield one
    await one.close()


async def raise_epoch(db: Database, epoch: int) -> None:
    async with db.begin() as session:
        await session.execute(update(ShardPosition).values(epoch=epoch))


async def test_doubt_reads_again_at_once(db: Database, epochs: Epochs) -> None:
    assert epochs.of(0) == 3
    await raise_epoch(db, 4)
    assert epochs.of(0) == 3
    epochs.doubt()
    await eventually(lambda: epochs.of(0) == 4)


async def test_unknown_shard_is_reopening_and_a_doubt(db: Database, epochs: Epochs) -> None:
    async with db.begin() as session:
        session.add(
            ShardPosition(shard=1, epoch=1, seq=0, run_id="", state="open", updated_at_ms=now_ms())
        )
    with pytest.raises(Unavailable) as refused:
        epochs.of(1)
    assert refused.value.code == "reopening"

    def known() -> bool:
        try:
            return epochs.of(1) == 1
        except Unavailable:
            return False

    await eventually(known)


async def test_fixed_epochs_ask_nobody() -> None:
    epochs = Epochs.fixed({2: 7})
    await epochs.refresh()
    assert epochs.of(2) == 7


def test_campaigns_spread_over_the_shards_and_stay() -> None:
    ids = [f"cmp_{n}" for n in range(200)]
    assert {shard_of(one, 4) for one in ids} == {0, 1, 2, 3}
    assert [shard_of(one, 4) for one in ids] == [shard_of(one, 4) for one in ids]
    assert shard_of("cmp_0", 4) == 1  # where a campaign lives never changes with a release
