"""`python -m workers.law_watch`: the process that checks the laws on a timer, for HQ's lights.

A process of its own, and a patient one: an audit computes for seconds after a large evening (22 s
were seen on a busy machine), and nothing that customers wait for may stand behind it.
"""

import os
from typing import Final

from workers.laws import LAWS_MAX, LawChecks
from workers.loop import Loop, Parts
from workers.main import serve

PATIENCE: Final = 10  # niceness: everybody else first


def loops_of(parts: Parts) -> list[Loop]:
    """The one loop of this process."""
    settings = parts.settings
    return [
        Loop(
            "laws",
            LawChecks(parts).run_once,
            every_ms=settings.law_check_every_ms,
            batch_max=LAWS_MAX,
            retry_base_ms=settings.retry_base_ms,
            retry_cap_ms=settings.retry_cap_ms,
        )
    ]


if __name__ == "__main__":
    os.nice(PATIENCE)
    serve(loops_of, name="law watch", clock=False)
