"""The ceiling of claim → order row: COPY into a table like `orders`, and nothing else.

Batches as large as the settler's, one connection, one synchronous commit a batch. The rows are
made before the clock starts.
"""

import time

import asyncpg

from engine.ids import new_id, now_ms

_COLUMNS = [
    *("id", "claim_id", "shard", "offer_id", "campaign_id", "version", "buyer_id", "qty", "units"),
    *("price_id", "unit_price_fen", "amount_fen", "state", "claim_state", "reason"),
    *("claimed_at_ms", "expires_at_ms", "idem_key", "body_hash", "paid_fen", "refunded_fen"),
    *("credit", "touch", "release_due"),
]
_CREDIT = (  # as the settler writes it, and as the table's own check wants it
    '{"plan":{"promoter_bps":800,"upline_bps":200,"store_bps":1000,"level_two":true,"cap_bps":3000},'
    '"credit":{"promoter_id":"G0001","upline_id":"G0002","store_id":"S01"},"why":{"rule":"v1"}}'
)


def _row(number: int, run: str) -> tuple[object, ...]:
    now = now_ms()
    return (
        *(f"ord-s0-e1-{number}-{run}", f"clm-s0-e1-{number}-{run}", 0, "ofr_0k3v9q2m1c7x4n8p5r6t"),
        *("cmp_0k3v9q2m1c7x4n8p5r6t", 1, f"mbr_{number % 2_000:022d}", 1, 1, "prc_1", 3_990),
        *(3_990, "open", "held", "", now, now + 90_000, f"{number:015d}-{run}", "0" * 32, 0),
        *(0, _CREDIT, "", False),
    )


async def copy_ceiling(owner_url: str, *, batch: int, batches: int) -> float:
    """Rows per second, committed."""
    run = new_id("run")[-16:]
    given = [
        [_row(first * batch + number, run) for number in range(batch)] for first in range(batches)
    ]
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS bench_orders (LIKE orders INCLUDING ALL)"
        )
        began = time.perf_counter()
        for rows in given:
            await connection.copy_records_to_table("bench_orders", records=rows, columns=_COLUMNS)
        return batch * batches / (time.perf_counter() - began)
    finally:
        await connection.close()
