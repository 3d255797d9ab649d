"""Orders over HTTP: customers see their own, HQ all, also as CSV."""

from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Response, Stream

from campaigns import exports
from campaigns.auth import CUSTOMER_OR_HQ, HQ, route
from campaigns.given import TheDb, TheSettings, Who
from campaigns.order import service
from campaigns.order.schemas import OrderPage, OrderView
from campaigns.order.service import OrderFilter
from engine.db import Database
from engine.settings import Settings
from engine.tokens import Access

PAGE_MAX = 200
Word = Annotated[str | None, QueryParameter(max_length=64)]
Wanted = NamedDependency[OrderFilter]
When = Annotated[int | None, QueryParameter(ge=0, le=2**53)]


def order_filter(
    buyer_id: Word = None,
    campaign_id: Word = None,
    offer_id: Word = None,
    order_state: Annotated[str | None, QueryParameter(name="state", max_length=20)] = None,
    from_ms: When = None,
    to_ms: When = None,
) -> OrderFilter:
    """The filters of the lists. A customer's list is their own, whatever is asked."""
    return OrderFilter(
        buyer_id=buyer_id,
        campaign_id=campaign_id,
        offer_id=offer_id,
        state=order_state,
        from_ms=from_ms,
        to_ms=to_ms,
    )


class OrderController(Controller):
    """One claim, one order."""

    tags = ("orders",)

    @get(
        "/v1/orders",
        **route(
            CUSTOMER_OR_HQ,
            "List orders, newest first",
            {422: "The CSV would be too large (`too_many_rows`)."},
            description="Customers see their own. HQ sees all, filtered; with `Accept: text/csv` "
            "as a CSV of all pages.",
            responses={
                200: ResponseSpec(OrderPage, description="A page.", generate_examples=False)
            },
        ),
    )
    async def page(
        self,
        who: Who,
        db: TheDb,
        settings: TheSettings,
        wanted: Wanted,
        accept: Annotated[str, HeaderParameter(name="Accept", required=False)] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 50,
        after: Annotated[str | None, QueryParameter(max_length=128)] = None,
    ) -> Response[OrderPage] | Stream:
        """`next` of one page is `after` of the next."""
        if who.role == "hq" and exports.wants_csv(accept):
            return await _csv(who, db, settings, wanted)
        return Response(await service.page(db, who, wanted, limit=limit, after=after))

    @get(
        "/v1/orders.csv",
        **route(
            HQ,
            "All orders that fit the filters, as CSV",
            {422: "The CSV would be too large (`too_many_rows`)."},
            media_type="text/csv",
        ),
    )
    async def csv(self, who: Who, db: TheDb, settings: TheSettings, wanted: Wanted) -> Stream:
        """Streamed; cells that a spreadsheet would run are made harmless."""
        return await _csv(who, db, settings, wanted)

    @get(
        "/v1/orders/{order_id:str}",
        **route(
            CUSTOMER_OR_HQ,
            "One order",
            {404: "No such order, or not yours (`order_not_found`)."},
        ),
    )
    async def get(self, order_id: FromPath[str], who: Who, db: TheDb) -> OrderView:
        """HQ also sees the buyer, the payment and the credit."""
        return await service.get_order(db, who, order_id)


async def _csv(who: Access, db: Database, settings: Settings, wanted: Wanted) -> Stream:
    batches = await service.csv_batches(
        db, who, wanted, rows_max=settings.csv_rows_max, batch_max=settings.csv_batch_max
    )
    return exports.answer("orders", service.CSV_HEADER, batches)
