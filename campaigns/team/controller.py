"""Teams over HTTP. The seat route is answered by `claim/hot.py` before the framework sees it."""

from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.params import FromPath, JSONBody, QueryParameter

from campaigns.auth import CUSTOMER, HQ, PEOPLE, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.claim.replies import as_response
from campaigns.given import TheCatalog, TheDb, TheHot, TheOpenTeams, TheTeams, Who
from campaigns.team import subsidy, views
from campaigns.team.progress import team_progress
from campaigns.team.schemas import (
    MyTeams,
    OpenTeams,
    SeatIn,
    SeatOut,
    SubsidyIn,
    TeamProgress,
    TeamView,
)
from campaigns.team.subsidy import SubsidyOut

PAGE_MAX = 50
_MISSING = {404: "No such team (`team_not_found`)."}


class TeamController(Controller):
    """A seat is a claim of its offer, held before it is paid."""

    tags = ("teams",)

    @post(
        "/v1/offers/{offer_id:str}/seats",
        **route(
            CUSTOMER,
            "Open a team, join one, or take a seat of a crowd",
            {
                404: "No such offer (`offer_not_found`) or team (`unknown_team`).",
                409: "`team_full` (with the `state` formed once it is complete), `team_over` "
                "(with its `state`: opening, closing or failed), `in_team` (with the claim_id), "
                "`team_open` (with the team_id), `newcomers_only`, `no_team`, `sold_out`, "
                "`limit_reached`, `not_open`, `closed` or `price_changed` (which names the new "
                "price_id and price_fen).",
                413: "The body is too large.",
                422: "`key_reused`: the key belongs to a claim with another body, which is named.",
                503: "`reopening` or `busy`: try again with the same key (see Retry-After).",
            },
            description="One script decides window, team, price, limits, seat and stock. A repeat "
            "with the same key and body answers what the first one did.",
            response_headers=[
                ResponseHeader(
                    "Idempotent-Replay",
                    description="`true` when this is the stored answer of an earlier request.",
                    documentation_only=True,
                )
            ],
            response_description="Held.",
        ),
    )
    async def seat(
        self,
        offer_id: FromPath[str],
        data: JSONBody[SeatIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        hot: TheHot,
    ) -> Response[SeatOut]:
        """Same decision and answer as the thin handler in front; see claim/hot.py."""
        return as_response(await hot.decide_seat(who, offer_id, idempotency_key, data))

    @get(
        "/v1/offers/{offer_id:str}/teams",
        **route(
            PEOPLE, "Open teams of an offer to join", {404: "No such offer (`offer_not_found`)."}
        ),
    )
    async def open(
        self,
        offer_id: FromPath[str],
        open_teams: TheOpenTeams,
        captain: Annotated[str | None, QueryParameter(max_length=80)] = None,
        store_id: Annotated[str | None, QueryParameter(max_length=64)] = None,
    ) -> OpenTeams:
        """`captain` is the team of the link that was followed: teams of its captain come first,
        then those of the same store, with the fewest seats missing, with the earliest deadline."""
        return await open_teams.show(offer_id, captain=captain, store_id=store_id)

    @get(
        "/v1/teams/{team_id:str}",
        **route(PEOPLE, "One team or crowd", _MISSING),
    )
    async def view(
        self, team_id: FromPath[str], who: Who, db: TheDb, teams: TheTeams, catalog: TheCatalog
    ) -> TeamView:
        """Who is in by nickname, seats left, deadline, and whether there is stock for the rest."""
        return await views.view_team(db, teams, catalog, who, team_id)

    @get("/v1/me/teams", **route(CUSTOMER, "My seats and what their teams became"))
    async def mine(
        self,
        who: Who,
        db: TheDb,
        teams: TheTeams,
        catalog: TheCatalog,
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 20,
        after: Annotated[str | None, QueryParameter(max_length=64)] = None,
    ) -> MyTeams:
        """Newest first; a seat is here once its order is committed."""
        return await views.my_teams(db, teams, catalog, who, limit=limit, after=after)

    @post(
        "/v1/teams/{team_id:str}/subsidise",
        **route(
            HQ,
            "Fill seats of a team at the merchant's cost",
            {
                **_MISSING,
                409: "`over_budget`, `no_seat` or `not_open`: nothing was changed.",
                422: "The key belongs to another request (`key_reused`).",
            },
            status_code=200,
        ),
    )
    async def subsidise(
        self,
        team_id: FromPath[str],
        data: JSONBody[SubsidyIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        db: TheDb,
        teams: TheTeams,
    ) -> SubsidyOut:
        """Labelled as such for everybody, within the offer's budget, and in the ledger."""
        return await subsidy.subsidise(
            db, teams, who, team_id, key=idempotency_key, seats=data.seats, reason=data.reason
        )

    @get(
        "/v1/teams/{team_id:str}/progress",
        **route(HQ, "How far a decided team's splits and refunds are", _MISSING),
    )
    async def progress(self, team_id: FromPath[str], db: TheDb) -> TeamProgress:
        """By what is settled: orders to book, refunds due and done, the oldest one's age."""
        return await team_progress(db, team_id)
