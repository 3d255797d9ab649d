"""Balances over HTTP, for HQ."""

from typing import Annotated, Literal

from litestar import Controller, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, QueryParameter
from litestar.response import Response, Stream

from campaigns import exports
from campaigns.auth import HQ, route
from campaigns.balance import service
from campaigns.balance.schemas import BalancePage
from campaigns.given import TheDb, TheProviderName, TheSettings
from engine.db import Database
from engine.settings import Settings

PAGE_MAX = 500
AccountKind = Literal["pending", "available", "debt", "store"]


class BalanceController(Controller):
    """What each account of the ledger holds, in fen."""

    tags = ("balances",)

    @get(
        "/v1/balances",
        **route(
            HQ,
            "Balances of guides, stores and the house",
            description="With `Accept: text/csv` all of them as a CSV.",
            responses={
                200: ResponseSpec(BalancePage, description="A page.", generate_examples=False)
            },
        ),
    )
    async def page(
        self,
        db: TheDb,
        settings: TheSettings,
        provider_name: TheProviderName,
        kind: FromQuery[AccountKind | None] = None,
        accept: Annotated[str, HeaderParameter(name="Accept", required=False)] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[str | None, QueryParameter(max_length=160)] = None,
    ) -> Response[BalancePage] | Stream:
        """`next` of one page is `after` of the next."""
        if exports.wants_csv(accept):
            return _csv(db, settings, provider_name)
        found = await service.page(db, provider_name, kind=kind, limit=limit, after=after)
        return Response(found)

    @get("/v1/balances.csv", **route(HQ, "All balances as CSV", media_type="text/csv"))
    async def csv(self, db: TheDb, settings: TheSettings, provider_name: TheProviderName) -> Stream:
        """Streamed, the house's own accounts first."""
        return _csv(db, settings, provider_name)


def _csv(db: Database, settings: Settings, provider_name: str) -> Stream:
    batches = service.csv_batches(
        db, provider_name, batch_max=settings.csv_batch_max, rows_max=settings.csv_rows_max
    )
    return exports.answer("balances", service.CSV_HEADER, batches)
