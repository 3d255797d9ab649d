"""What is left of an offer's budget of subsidy seats, for HQ before it spends one."""

import msgspec
from litestar import Controller, get
from litestar.params import FromPath

from campaigns.auth import HQ, route
from campaigns.given import TheCatalog, TheTeams
from campaigns.team.subsidy import seat_fen
from engine import keys
from engine.errors import Missing
from engine.ids import now_ms


class SubsidyBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Seats that the merchant may fill in this offer's teams in all, how many were filled, and
    what one costs now in fen. Which seats a team has free, its page says."""

    offer_id: str
    seats_max: int
    seats_used: int
    seats_left: int
    seat_fen: int


class SubsidyBudgetController(Controller):
    """Spending it is `POST /v1/teams/{id}/subsidise`."""

    tags = ("teams",)

    @get(
        "/v1/offers/{offer_id:str}/subsidy",
        **route(
            HQ,
            "What is left of an offer's budget of subsidy seats",
            {404: "No such offer, or it has no teams (`offer_not_found`)."},
        ),
    )
    async def budget(
        self, offer_id: FromPath[str], catalog: TheCatalog, teams: TheTeams
    ) -> SubsidyBudget:
        """As the hot store counts it; Unavailable while that is away."""
        listed = await catalog.find(offer_id)
        rules = listed.config.team
        if rules is None or not rules.size:
            raise Missing("offer_not_found", "There is no such offer with teams.")
        hot = await teams.hash_of(keys.offers(listed.shard) + offer_id)
        used = int(hot.get("subsidised", 0))
        return SubsidyBudget(
            offer_id=offer_id,
            seats_max=rules.subsidy_max,
            seats_used=used,
            seats_left=max(0, rules.subsidy_max - used),
            seat_fen=seat_fen(listed.config, max(now_ms(), listed.config.starts_at_ms)),
        )
