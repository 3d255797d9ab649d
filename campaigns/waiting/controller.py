"""Waiting lists over HTTP: one entry per customer and offer, under the path of the offer."""

from typing import cast

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from campaigns.auth import CUSTOMER, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.claim.schemas import ClaimIn
from campaigns.given import TheCatalog, TheSettings, TheWaiting, Who
from campaigns.waiting import service
from campaigns.waiting.schemas import LeftOut, WaitOut

_AT = "/v1/offers/{offer_id:str}/waiting"
_REOPENING = "`reopening`: try again in a moment (see Retry-After)."


class WaitingController(Controller):
    """`waiting` → `served` (a claim is held), skipped (told why) or left."""

    tags = ("claims",)

    @post(
        _AT,
        **route(
            CUSTOMER,
            "Wait for units of an offer that is sold out",
            {
                404: "No such offer (`offer_not_found`).",
                409: "`available` (claim instead), `limit_reached`, `not_open`, `closed`, "
                "`price_changed`, `too_few` (the offer has not so many), `wait_full` or "
                "`no_waiting` (a group buy).",
                422: "`key_reused`: the key belongs to another wish.",
                503: "`reopening` or `busy`: try again with the same key (see Retry-After).",
            },
            description="The key and the body are those of the claim that it becomes when units "
            "come free; `me` tells of it. While anybody waits, claims are told `sold_out`. "
            "A repeat answers the place, or the claim; who waits already keeps their place and "
            "what they asked for first.",
            response_description="Waiting, or served at once.",
        ),
    )
    async def join(
        self,
        offer_id: FromPath[str],
        data: JSONBody[ClaimIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        waiting: TheWaiting,
        catalog: TheCatalog,
        settings: TheSettings,
    ) -> Response[WaitOut]:
        """The body is encoded already."""
        answer = await service.join(
            waiting,
            catalog,
            who,
            offer_id,
            idempotency_key,
            data,
            wait_max=settings.wait_max,
        )
        headers = {name.decode(): value.decode() for name, value in answer.headers}
        media_type = headers.pop("content-type")
        response = Response(
            answer.body, status_code=answer.status, headers=headers, media_type=media_type
        )
        return cast("Response[WaitOut]", response)

    @get(
        _AT,
        **route(
            CUSTOMER,
            "My place in an offer's waiting list",
            {
                404: "No such offer (`offer_not_found`), or you do not wait (`not_waiting`).",
                503: _REOPENING,
            },
        ),
    )
    async def look(
        self, offer_id: FromPath[str], who: Who, waiting: TheWaiting, catalog: TheCatalog
    ) -> WaitOut:
        """How many are before you."""
        return await service.look(waiting, catalog, who, offer_id)

    @delete(
        _AT,
        status_code=200,
        **route(
            CUSTOMER,
            "Wait no longer",
            {404: "No such offer (`offer_not_found`).", 503: _REOPENING},
        ),
    )
    async def leave(
        self, offer_id: FromPath[str], who: Who, waiting: TheWaiting, catalog: TheCatalog
    ) -> LeftOut:
        """May be repeated. A claim that was held for you before stays yours until you cancel it."""
        return await service.leave(waiting, catalog, who, offer_id)
