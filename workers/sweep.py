"""Releases claims that were held past their deadline, shard by shard, in bounded batches.

The script does the work and knows the time; this loop only asks for it often enough. A shard
that is reopening or has no campaign yet is passed over.
"""

from engine.errors import Unavailable
from workers.loop import Parts


async def run_once(parts: Parts) -> int:
    """One batch for each shard; how many claims were released."""
    released, unreachable = 0, None
    for shard in range(parts.settings.shards):
        try:
            reply = await parts.inventory.sweep(shard, parts.settings.sweep_batch_max)
        except Unavailable as error:
            unreachable = error
            continue
        if reply.what == "swept":
            released += int(reply.details[0])
    if unreachable is not None and not parts.inventory.wire.connected:
        raise unreachable
    return released
