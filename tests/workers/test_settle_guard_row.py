"""The SQL guard itself, without the settler's look before it: the row takes no unit too many."""

import pytest
from sqlalchemy.exc import IntegrityError

from tests.workers.stage import Stage


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        ("held = total + 1", "offers_guard"),
        ("sold = total + 1", "offers_guard"),
        ("held = 1, sold = total", "offers_guard"),
        ("total = 0, held = 1", "offers_guard"),
        ("held = -1", "offers_not_negative"),
        ("sold = -1", "offers_not_negative"),
    ],
)
async def test_an_offers_row_takes_no_unit_too_many(stage: Stage, change: str, guard: str) -> None:
    await stage.offer(3)
    await stage.run("UPDATE offers SET held = 1, sold = total - 1")
    with pytest.raises(IntegrityError, match=guard):
        await stage.run(f"UPDATE offers SET {change}")
