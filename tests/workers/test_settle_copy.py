"""New orders go in by COPY on the driver's own connection: its errors must count like SQL's."""

import asyncpg
import pytest

from tests.conftest import DbUrls
from tests.workers.acts import held
from tests.workers.conftest import RivalMaker
from tests.workers.laws import check
from tests.workers.stage import Stage
from workers.settle.away import is_outage


async def test_a_connection_that_dies_at_the_copy_is_an_outage(
    stage: Stage, rival: RivalMaker, db_urls: DbUrls
) -> None:
    offer = await stage.offer(5)
    await held(stage, offer, "m1")
    killed: list[str] = []

    async def gate(step: str) -> None:
        if step == "sql COPY orders" and not killed:
            killed.append(step)
            connection = await asyncpg.connect(db_urls.superuser)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND state = 'idle in transaction'"
            )
            await connection.close()

    async with rival(gate) as other:
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is, it must count
            await other.settler().round()
        assert is_outage(caught.value), repr(caught.value)
        assert killed
        await other.settler().round()
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM orders") == 1
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    await check(stage)
