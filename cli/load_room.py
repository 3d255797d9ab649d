"""The live room of `kaituan load --scenario room_crowd`, and what its viewers are told."""

from dataclasses import dataclass

import msgspec

from cli.demo.headquarters import soon
from cli.fresh import Fresh
from cli.tokens import sample_tokens
from loadtests.crowd import WatchPlan
from loadtests.plan import LoadPlan

PROCESSES = 2
JOINS_PER_S = 200.0  # of each process
SLACK_MS = 4_000
SIGNED_IN_MAX = 1_000  # viewers with a name; the others only watch
SHARED_BY = 25  # anonymous viewers of one token
COMMENTS_PER_S, LIKES_PER_S = 4.0, 10.0


@dataclass(frozen=True)
class Audience:
    """How many watch, and how many of them lose their network each second."""

    viewers: int
    cuts_per_s: float

    @property
    def gather_ms(self) -> int:
        """How long they take to come in."""
        return SLACK_MS + round(self.viewers / PROCESSES / JOINS_PER_S * 1000)


async def with_room(fresh: Fresh, plan: LoadPlan, audience: Audience) -> LoadPlan:
    """The plan with a live room that shows its offers, and a plan for each process of viewers."""
    offers = [plan.hero_offer, plan.side_offer]
    room_id = await fresh.hq.schedule_room("压测直播间", fresh.host, offers, soon(1))
    await fresh.hq.ask("POST", f"/v1/rooms/{room_id}/live")
    signed_in = min(SIGNED_IN_MAX, audience.viewers // 2)
    tokens = [one.token for one in await sample_tokens(fresh.settings, signed_in)]
    others = audience.viewers - signed_in
    crowds = [
        WatchPlan(
            name=f"viewers-{number}",
            history=plan.history,
            base_url=plan.base_url,
            room_id=room_id,
            bearers=tuple(tokens[number::PROCESSES]),
            anonymous=others // PROCESSES + (number < others % PROCESSES),
            shared_by=SHARED_BY,
            origin=fresh.settings.origins.split(",")[0],
            joins_per_s=JOINS_PER_S,
            comments_per_s=COMMENTS_PER_S / PROCESSES,
            likes_per_s=LIKES_PER_S / PROCESSES,
            cuts_per_s=audience.cuts_per_s / PROCESSES,
            seed=plan.seed,
        )
        for number in range(PROCESSES)
    ]
    return msgspec.structs.replace(
        plan,
        viewers=audience.viewers,
        room_topic=f"room:{room_id}",
        crowds=tuple(msgspec.Raw(msgspec.json.encode(one)) for one in crowds),
    )
