"""A process's copy of the epochs: it ends when told to, whatever it is doing at that moment."""

import asyncio

from engine.db import Database
from engine.shards import Epochs


async def test_closing_in_the_turn_of_a_doubt_ends(db: Database) -> None:
    for turns in range(6):
        epochs = Epochs(db)
        await epochs.start()
        await asyncio.sleep(0.03)
        epochs.doubt()
        for _ in range(turns):
            await asyncio.sleep(0)
        closing = asyncio.create_task(epochs.close())
        done, _ = await asyncio.wait({closing}, timeout=5)
        if not done:
            closing.cancel()
        assert done, f"close() hangs when it is called {turns} turns after doubt()"
