"""After forming, over HTTP: the stocking list, goods that are there, and pick-ups."""

from typing import Annotated

from litestar import Controller, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Response, Stream

from campaigns import exports
from campaigns.auth import CUSTOMER_OR_HQ, GUIDE, HQ_OR_GUIDE, route
from campaigns.fulfilment import pick_up, ready, stocking, views
from campaigns.fulfilment.schemas import (
    PickUpIn,
    PickUpOut,
    PickUpStoreIn,
    PickUpView,
    ReadyIn,
    ReadyOut,
    StockingPage,
)
from campaigns.given import TheDb, ThePickUpCodes, TheSettings, Who
from engine.db import Database
from engine.settings import Settings

PAGE_MAX = 500
Id = Annotated[str | None, QueryParameter(max_length=64)]
_MISSING = {404: "No such order, or not yours (`order_not_found`)."}


class FulfilmentController(Controller):
    """paid → ready → fulfilled, for orders that stand."""

    tags = ("fulfilment",)

    @get(
        "/v1/stocking-list",
        **route(
            HQ_OR_GUIDE,
            "What each store needs for its orders",
            description="Orders of formed teams and paid ones of regular sales; offers stay on "
            "it for a while after their end, or as long as asked for by id. A guide sees their "
            "own store's. With `Accept: text/csv` all lines as a CSV.",
            responses={
                200: ResponseSpec(StockingPage, description="A page.", generate_examples=False)
            },
        ),
    )
    async def stocking_list(
        self,
        who: Who,
        db: TheDb,
        settings: TheSettings,
        store_id: Id = None,
        offer_id: Id = None,
        accept: Annotated[str, HeaderParameter(name="Accept", required=False)] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[str | None, QueryParameter(max_length=160)] = None,
    ) -> Response[StockingPage] | Stream:
        """`next` of one page is `after` of the next."""
        wanted = await stocking.wanted_by(
            db, who, store_id=store_id, offer_id=offer_id, keep_ms=settings.stocking_keep_ms
        )
        if exports.wants_csv(accept):
            return _csv(db, settings, wanted)
        return Response(await stocking.page(db, wanted, limit=limit, after=after))

    @get(
        "/v1/stocking-list.csv",
        **route(HQ_OR_GUIDE, "The stocking list as CSV", media_type="text/csv"),
    )
    async def csv(
        self,
        who: Who,
        db: TheDb,
        settings: TheSettings,
        store_id: Id = None,
        offer_id: Id = None,
    ) -> Stream:
        """Streamed, by store and offer."""
        wanted = await stocking.wanted_by(
            db, who, store_id=store_id, offer_id=offer_id, keep_ms=settings.stocking_keep_ms
        )
        return _csv(db, settings, wanted)

    @post(
        "/v1/stocking-list/ready",
        **route(
            HQ_OR_GUIDE,
            "The goods of an offer are in a store",
            {
                404: "No such store of yours (`store_not_found`) or offer (`offer_not_found`).",
                409: "`not_stocked`, `not_formed`, `still_booking` or `nothing_to_stock`.",
            },
            description="Its orders that stand become `ready`, and each shows its customer a "
            "pick-up code. Asked again, it makes ready what was formed since.",
            status_code=200,
        ),
    )
    async def ready(
        self, data: JSONBody[ReadyIn], who: Who, db: TheDb, settings: TheSettings
    ) -> ReadyOut:
        """A guide only for the store they work in."""
        return await ready.make_ready(db, who, data, batch_max=settings.ready_batch_max)

    @get("/v1/orders/{order_id:str}/pick-up", **route(CUSTOMER_OR_HQ, "An order's way", _MISSING))
    async def view(
        self, order_id: FromPath[str], who: Who, db: TheDb, pick_up_codes: ThePickUpCodes
    ) -> PickUpView:
        """Store, day, and for its customer the code."""
        return await views.view(db, pick_up_codes, who, order_id)

    @put(
        "/v1/orders/{order_id:str}/pick-up-store",
        **route(
            CUSTOMER_OR_HQ,
            "Choose the store for an order",
            {
                404: "No such order (`order_not_found`), or store that sells it "
                "(`store_not_found`).",
                409: "Its goods are there already, or it is over (`order_state`), or they do not "
                "come later (`not_stocked`).",
            },
        ),
    )
    async def choose(
        self,
        order_id: FromPath[str],
        data: JSONBody[PickUpStoreIn],
        who: Who,
        db: TheDb,
        pick_up_codes: ThePickUpCodes,
    ) -> PickUpView:
        """Instead of the store of the customer's guide."""
        return await pick_up.choose_store(db, pick_up_codes, who, order_id, data.store_id)

    @post(
        "/v1/pick-ups",
        **route(
            GUIDE,
            "Hand over an order by its code",
            {
                409: "`already_handed_over` (with when), `other_store`, `no_store`, or its money "
                "or units went back (`order_state`, `nothing_left`).",
                410: "`code_expired`: the customer's order shows a fresh one.",
                422: "`wrong_code`.",
                429: "`too_many_tries`: too many wrong codes in this store (see Retry-After).",
            },
            status_code=200,
        ),
    )
    async def hand_over(
        self, data: JSONBody[PickUpIn], who: Who, db: TheDb, pick_up_codes: ThePickUpCodes
    ) -> PickUpOut:
        """Once; a second scan says so, with when it was."""
        return await pick_up.hand_over(db, pick_up_codes, who, data.code)


def _csv(db: Database, settings: Settings, wanted: stocking.Wanted | None) -> Stream:
    batches = stocking.csv_batches(
        db, wanted, batch_max=settings.csv_batch_max, rows_max=settings.csv_rows_max
    )
    return exports.answer("stocking-list", stocking.CSV_HEADER, batches)
