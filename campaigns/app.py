"""The HTTP API: Litestar for everything, and in front of it the two paths that must be fast.

`create_app(parts)` is an ASGI app. `POST /v1/offers/{id}/claims` and `…/seats` go straight to
`parts.hot`; built pages are answered from memory; all else goes through the framework, whose
routes for claims and seats document them. Every route declares who may call it, or nobody may.
"""

from collections.abc import Awaitable
from typing import Any

from litestar import Litestar, Response, Router
from litestar.config.response_cache import ResponseCacheConfig
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from campaigns import problems
from campaigns.auth import HQ, PUBLIC, guard, signed_in, visitor
from campaigns.balance.controller import BalanceController
from campaigns.board.controller import BoardController
from campaigns.board.service import Board
from campaigns.bodies import StrictRequest
from campaigns.campaign.controller import CampaignController
from campaigns.claim.controller import ClaimController
from campaigns.fulfilment.controller import FulfilmentController
from campaigns.health import HealthController, missing_route
from campaigns.offer.controller import OfferController
from campaigns.order.controller import OrderController, order_filter
from campaigns.pages import Page, Pages
from campaigns.parts import Parts
from campaigns.payment.controller import PaymentController
from campaigns.refund.controller import RefundController
from campaigns.room.controller import RoomController
from campaigns.room.doors import DoorsController
from campaigns.room.service import Rooms
from campaigns.sign_in.controller import SignInController
from campaigns.team.budget import SubsidyBudgetController
from campaigns.team.controller import TeamController
from campaigns.team.live_controller import TeamLiveController
from campaigns.team.open_list import OpenTeamList
from campaigns.team.sharing_controller import SharingController
from campaigns.waiting.controller import WaitingController

_BEFORE = "/v1/offers/"
CONTROLLERS = (
    SignInController,
    CampaignController,
    OfferController,
    ClaimController,
    WaitingController,
    TeamController,
    TeamLiveController,
    SubsidyBudgetController,
    SharingController,
    PaymentController,
    OrderController,
    RefundController,
    FulfilmentController,
    BalanceController,
    RoomController,
    BoardController,
    DoorsController,
    HealthController,
)


class Front:
    """The outermost ASGI app: claims and seats to the thin handler, the rest to the framework."""

    def __init__(self, parts: Parts, framework: Litestar) -> None:
        self.framework = framework
        self._hot = parts.hot
        self._answers = parts.metrics.answers
        self._pages = Pages(parts.settings)

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Not a coroutine itself: the hot path has no layer that it does not need."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path.startswith(_BEFORE):
                offer_id, _, what = path[len(_BEFORE) :].partition("/")
                if offer_id and what in ("claims", "seats"):
                    return self._hot(scope, receive, send, offer_id, seat=what == "seats")
        return self._counted(scope, receive, send)

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        # PostgreSQL takes no NUL in a text, and no id of ours has one.
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            scope = {**scope, "path": "/-", "query_string": b"", "raw_path": b"/-"}
        if scope["method"] == "HEAD":  # monitors ask so; the server sends no body
            scope = {**scope, "method": "GET"}
        if scope["method"] == "GET":
            page = self._pages.find(scope["path"], dict(scope["headers"]))
            if page is not None:
                self._answers[page.status] += 1
                await _send_page(page, send)
                return

        async def counting(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._answers[message["status"]] += 1
            await send(message)

        await self.framework(scope, receive, counting)


async def _send_page(page: Page, send: Any) -> None:
    headers = [*page.headers, (b"content-length", b"%d" % len(page.body))]
    await send({"type": "http.response.start", "status": page.status, "headers": headers})
    await send({"type": "http.response.body", "body": page.body})


def create_app(parts: Parts) -> Front:
    """The ASGI app over opened parts."""
    return Front(parts, create_framework(parts))


def create_framework(parts: Parts) -> Litestar:
    """The Litestar app by itself, with all routes."""
    given: dict[str, Any] = {
        "settings": parts.settings,
        "db": parts.db,
        "inventory": parts.inventory,
        "teams": parts.teams,
        "waiting": parts.waiting,
        "catalog": parts.catalog,
        "tokens": parts.tokens,
        "passwords": parts.passwords,
        "phones": parts.phones,
        "codes": parts.codes,
        "pick_up_codes": parts.pick_up_codes,
        "provider": parts.provider,
        "provider_name": parts.provider_name,
        "metrics": parts.metrics,
        "hot": parts.hot,
        "board": Board(parts.db, parts.inventory, parts.catalog),
        "open_teams": OpenTeamList(parts.db, parts.teams, parts.catalog),
        "room_tokens": parts.room_tokens,
        "rooms": Rooms(
            parts.db, parts.inventory, parts.logs, shelf_max=parts.settings.room_shelf_max
        ),
    }
    return Litestar(
        route_handlers=CONTROLLERS,
        guards=[guard(parts.tokens)],
        dependencies={
            **{name: _handing(value) for name, value in given.items()},
            "who": Provide(signed_in, sync_to_thread=False),
            "visitor": Provide(visitor, sync_to_thread=False),
            "wanted": Provide(order_filter, sync_to_thread=False),
        },
        exception_handlers=problems.HANDLERS,
        request_class=StrictRequest,
        request_max_body_size=parts.settings.body_bytes_max,
        openapi_config=_openapi(public=parts.settings.mode == "development"),
        logging_config=None,
        response_cache_config=ResponseCacheConfig(),
        debug=False,
    )


def _handing(value: Any) -> Provide:
    def hand() -> Any:
        return value

    return Provide(hand, sync_to_thread=False)


def _no_html(response: Response[Any]) -> Response[Any]:
    """The framework's schema router has a 404 page of its own; ours are all problems."""
    return response if response.status_code == 200 else problems.answer(missing_route())


def _openapi(*, public: bool) -> OpenAPIConfig:
    """The document at /schema/openapi.json: open in development, for HQ in production.

    JSON only: the framework's HTML pages load scripts from elsewhere.
    """
    return OpenAPIConfig(
        title="Kaituan 开团",
        version="1",
        description="Flash sales with atomic stock and exact splits. Money is integer fen, times "
        "are integer ms since 1970; every error is an `application/problem+json` with a `code`.",
        render_plugins=[JsonRenderPlugin()],
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            include_in_schema=False,
            opt={"access": PUBLIC if public else HQ},
            after_request=_no_html,
        ),
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http", scheme="bearer", description="An `access_token` of a sign-in."
                )
            }
        ),
        use_handler_docstrings=True,
    )
