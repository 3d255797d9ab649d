"""`python -m workers.broadcast`: the broadcaster's process, its composition root."""

import asyncio
import logging
import signal
import sys

import uvloop

from engine import settings as settings_module
from engine.db import Database
from engine.errors import RefusedStart
from engine.inventory import Inventory
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings
from engine.shards import Epochs
from engine.store import check_database, check_hot_store, connect
from engine.wire import Wire
from workers.broadcast.loop import Broadcaster


async def serve(settings: Settings) -> None:
    """Broadcast until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = connect(settings.redis_url)
    try:
        await check_hot_store(client, unsafe=settings.unsafe_store)
    finally:
        await client.aclose()
    db = Database(settings.database_url, pool_max=3)
    scripts = load_all()
    # Each shard has at most a batch under way: its claims' look-ups, or its logs and their hints.
    most = 4_096 + 2 * settings.shards * settings.broadcast_batch_max
    wire = Wire(settings.redis_url, scripts.values(), in_flight_max=most)
    try:
        await check_database(db, unsafe=settings.unsafe_store)
        await wire.start()
        # It reads the hot state and runs none of its commands, so it needs no epochs.
        inventory = Inventory(wire, Epochs.fixed({}), scripts)
        logs = RoomLogs(wire, scripts, settings=settings)
        await Broadcaster(db, inventory, logs, settings).run(stop)
    finally:
        await wire.close()
        await db.close()


def main() -> int:
    """Exit 0 after a drain, 3 with one sentence when this start is refused."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        uvloop.run(serve(settings_module.load()))
    except RefusedStart as error:
        print(f"broadcaster: {error.title} {error.detail}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
