"""Offers over HTTP: anybody may look, HQ adds stock and closes."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from campaigns.auth import HQ, PUBLIC, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.given import TheCatalog, TheDb, TheInventory, TheTeams, Who
from campaigns.offer import service, views
from campaigns.offer.schemas import CloseIn, CommandOut, OfferPage, OfferView, RestockIn

_MISSING = {404: "No such offer (`offer_not_found`)."}
_KEY = {422: "The key belongs to another request (`key_reused`)."}
PAGE_MAX = 100


class OfferController(Controller):
    """`total = available + held + sold`, always; held includes paying."""

    path = "/v1/offers"
    tags = ("offers",)

    @get("/", **route(PUBLIC, "Offers on sale or to come, newest first"))
    async def page(
        self,
        db: TheDb,
        inventory: TheInventory,
        teams: TheTeams,
        catalog: TheCatalog,
        campaign_id: Annotated[str | None, QueryParameter(max_length=64)] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
        after: Annotated[str | None, QueryParameter(max_length=64)] = None,
    ) -> OfferPage:
        """`next` of one page is `after` of the next."""
        return await views.list_offers(
            db, inventory, teams, catalog, campaign_id=campaign_id, limit=limit, after=after
        )

    @get("/{offer_id:str}", **route(PUBLIC, "One offer: price, stock, window, limits", _MISSING))
    async def view(
        self,
        offer_id: FromPath[str],
        db: TheDb,
        inventory: TheInventory,
        teams: TheTeams,
        catalog: TheCatalog,
    ) -> OfferView:
        """The price_id to claim with, and what a buyer can hope for."""
        return await views.view_offer(db, inventory, teams, catalog, offer_id)

    @post(
        "/{offer_id:str}/restock",
        **route(
            HQ,
            "Add stock to an offer on sale",
            {
                **_MISSING,
                **_KEY,
                409: "Nobody can buy it any more (`offer_closed`), or yet (`not_launched`).",
            },
            status_code=200,
        ),
    )
    async def restock(
        self,
        offer_id: FromPath[str],
        data: JSONBody[RestockIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        db: TheDb,
        inventory: TheInventory,
    ) -> CommandOut:
        """Committed when this answers; `in_effect` tells whether buyers can claim it already."""
        return await service.restock(
            db,
            inventory,
            who,
            offer_id,
            key=idempotency_key,
            units=data.units,
            reason=data.reason,
        )

    @post(
        "/{offer_id:str}/close",
        **route(
            HQ,
            "Take no more claims for an offer",
            {**_MISSING, **_KEY, 409: "Its host has not launched it yet (`not_launched`)."},
            status_code=200,
        ),
    )
    async def close(
        self,
        offer_id: FromPath[str],
        data: JSONBody[CloseIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        db: TheDb,
        inventory: TheInventory,
    ) -> CommandOut:
        """Claims that are held or being paid go their way."""
        return await service.close(
            db, inventory, who, offer_id, key=idempotency_key, reason=data.reason
        )
