"""Refunds over HTTP: asked for once per key, carried out by the worker."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Response, Stream
from sqlalchemy import select

from campaigns import exports
from campaigns.auth import CUSTOMER_OR_HQ, HQ, route
from campaigns.claim.controller import IdempotencyKey
from campaigns.given import TheDb, TheSettings, TheTeams, Who
from campaigns.order.service import get_order
from campaigns.refund import overview, service
from campaigns.refund.models import Refund
from campaigns.refund.of_buyers import request_own_refund
from campaigns.refund.overview import RefundFilter, State
from campaigns.refund.schemas import RefundIn, RefundList, RefundPage, RefundView, view_of
from engine.db import Database
from engine.errors import Missing
from engine.settings import Settings

_MISSING = {404: "No such order, or not yours (`order_not_found`)."}
LIST_MAX = 200
PAGE_MAX = 500
Word = Annotated[str | None, QueryParameter(max_length=80)]
Wanted = NamedDependency[RefundFilter]
_TOO_MANY = {422: "The CSV would be too large (`too_many_rows`)."}


def refund_filter(
    refund_state: Annotated[State | None, QueryParameter(name="state")] = None,
    cause: Word = None,
    team_id: Word = None,
    offer_id: Word = None,
) -> RefundFilter:
    """The filters of HQ's list."""
    return RefundFilter(state=refund_state, cause=cause, team_id=team_id, offer_id=offer_id)


class RefundController(Controller):
    """due → done, or failed and looked at by a person."""

    tags = ("refunds",)
    dependencies = {"wanted_refunds": Provide(refund_filter, sync_to_thread=False)}  # noqa: RUF012

    @get(
        "/v1/refunds",
        **route(
            HQ,
            "All refunds, oldest first",
            _TOO_MANY,
            description="With age, tries, last error and counts by state, so that the refunds of "
            "a failed crowd can be watched (`team_id` or `offer_id`). `cause` is one such as "
            "`team_failed`, or `after_sale` for all requests. With `Accept: text/csv` as a CSV.",
            responses={
                200: ResponseSpec(RefundPage, description="A page.", generate_examples=False)
            },
        ),
    )
    async def page(
        self,
        db: TheDb,
        settings: TheSettings,
        wanted_refunds: Wanted,
        accept: Annotated[str, HeaderParameter(name="Accept", required=False)] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[str | None, QueryParameter(max_length=64)] = None,
    ) -> Response[RefundPage] | Stream:
        """`next` of one page is `after` of the next."""
        if exports.wants_csv(accept):
            return await _csv(db, settings, wanted_refunds)
        return Response(await overview.page(db, wanted_refunds, limit=limit, after=after))

    @get(
        "/v1/refunds.csv",
        **route(HQ, "All refunds that fit the filters, as CSV", _TOO_MANY, media_type="text/csv"),
    )
    async def csv(self, db: TheDb, settings: TheSettings, wanted_refunds: Wanted) -> Stream:
        """Streamed, oldest first."""
        return await _csv(db, settings, wanted_refunds)

    @post(
        "/v1/orders/{order_id:str}/refunds",
        **route(
            CUSTOMER_OR_HQ,
            "Ask for a refund",
            {
                **_MISSING,
                409: "`not_refundable`, `handed_over`, `refund_exceeds_units`, `units_stay`, "
                "`refund_exceeds_paid`, `crowd_reached` (for its buyers, until it is formed) or "
                "`too_many_refunds`.",
                422: "The key stands for another refund (`request_reused`).",
                503: "`reopening`: whether a crowd is reached cannot be said right now.",
            },
            description="Customers give back whole units of their own paid order for their price; "
            "HQ may also say an amount. The key makes it once.",
        ),
    )
    async def ask(
        self,
        order_id: FromPath[str],
        data: JSONBody[RefundIn],
        idempotency_key: IdempotencyKey,
        who: Who,
        db: TheDb,
        teams: TheTeams,
    ) -> RefundView:
        """Committed when this answers; sent to the provider until it says done."""
        if who.role == "hq":
            refund = await service.request_refund(
                db,
                order_id=order_id,
                request_id=idempotency_key,
                units=data.units,
                amount_fen=data.amount_fen,
                actor=who.subject,
            )
            return view_of(refund)
        if data.amount_fen is not None:
            raise service.amount_not_yours()
        refund = await request_own_refund(
            db,
            teams,
            order_id=order_id,
            request_id=idempotency_key,
            units=data.units,
            buyer_id=who.subject,
        )
        return view_of(refund)

    @get(
        "/v1/orders/{order_id:str}/refunds",
        **route(CUSTOMER_OR_HQ, "Refunds of an order", _MISSING),
    )
    async def of_order(self, order_id: FromPath[str], who: Who, db: TheDb) -> RefundList:
        """Also those of late or doubled payments."""
        await get_order(db, who, order_id)
        query = (
            select(Refund).where(Refund.order_id == order_id).order_by(Refund.id).limit(LIST_MAX)
        )
        async with db.begin() as session:
            return RefundList(tuple([view_of(row) for row in await session.scalars(query)]))

    @get(
        "/v1/refunds/{refund_id:str}",
        **route(
            CUSTOMER_OR_HQ,
            "One refund",
            {404: "No such refund, or not yours (`refund_not_found`)."},
        ),
    )
    async def get(self, refund_id: FromPath[str], who: Who, db: TheDb) -> RefundView:
        """`done` once the provider said so."""
        async with db.begin() as session:
            refund = await session.get(Refund, refund_id)
        missing = Missing("refund_not_found", "There is no such refund.", "Look at your orders.")
        if refund is None:
            raise missing
        if who.role != "hq":
            if refund.order_id is None:
                raise missing
            try:
                await get_order(db, who, refund.order_id)
            except Missing:
                raise missing from None
        return view_of(refund)


async def _csv(db: Database, settings: Settings, wanted: RefundFilter) -> Stream:
    batches = await overview.csv_batches(
        db, wanted, rows_max=settings.csv_rows_max, batch_max=settings.csv_batch_max
    )
    return exports.answer("refunds", overview.CSV_HEADER, batches)
