"""Teams over HTTP. The seat route is answered by `claim/hot.py` before the framework sees it."""

from typing import cast

from litestar import Controller, Response, post
from litestar.datastructures import ResponseHeader
from litestar.params import FromPath, JSONBody

from campaigns.auth import CUSTOMER, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.given import TheHot, Who
from campaigns.team.schemas import SeatIn, SeatOut


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
                409: "`team_full`, `team_over` (with its `state`), `in_team` (with the claim_id), "
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
        answer = await hot.decide_seat(who, offer_id, idempotency_key, data)
        headers = {name.decode(): value.decode() for name, value in answer.headers}
        media_type = headers.pop("content-type")
        response = Response(
            answer.body, status_code=answer.status, headers=headers, media_type=media_type
        )
        return cast("Response[SeatOut]", response)  # the body is encoded already
