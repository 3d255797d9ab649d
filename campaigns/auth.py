"""Who may call what: every route declares it, and one guard checks it.

    @get("/v1/balances", **route(HQ, "Balances of all accounts"))

A route that declares nothing is refused to everybody. The scope of a request comes from its
signed token, never from its path; someone else's object is answered like a missing one, by the
services.
"""

from collections.abc import Mapping
from typing import Any

from litestar.connection import ASGIConnection, Request
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import Guard

from campaigns.problems import MEDIA_TYPE, Problem
from engine.errors import NotAllowed
from engine.ids import now_ms
from engine.tokens import Access, TokenKeys, bearer

PUBLIC: tuple[str, ...] = ()
CUSTOMER: tuple[str, ...] = ("customer",)
HQ: tuple[str, ...] = ("hq",)
GUIDE: tuple[str, ...] = ("guide",)
CUSTOMER_OR_HQ: tuple[str, ...] = ("customer", "hq")
HQ_OR_GUIDE: tuple[str, ...] = ("hq", "guide")
PEOPLE: tuple[str, ...] = ("customer", "guide", "hq")

# `security` of a public route that gives more to who is signed in (see `visitor`).
ANYBODY_OR_SIGNED_IN: list[dict[str, list[str]]] = [{}, {"bearer": ["customer", "guide", "hq"]}]

_AUTOMATIC = {
    400: "The request cannot be understood; nothing was changed.",
    401: "No sign-in, or one that is forged or has expired.",
    403: "Signed in, but not for this.",
    503: "Try again in a moment (see Retry-After).",
}


def route(
    access: tuple[str, ...], summary: str, errors: Mapping[int, str] | None = None, **more: Any
) -> dict[str, Any]:
    """Keyword arguments of a route: who may call it, and what OpenAPI says about it.

    `errors` maps each status of its own to a sentence; those that all routes share are added.
    """
    shared = _AUTOMATIC if access else {n: _AUTOMATIC[n] for n in (400, 503)}
    described = {**shared, **(errors or {})}
    responses = {
        status: ResponseSpec(
            data_container=Problem, description=text, media_type=MEDIA_TYPE, generate_examples=False
        )
        for status, text in sorted(described.items())
    }
    more.setdefault("responses", {})
    more["responses"] = {**responses, **more["responses"]}
    more.setdefault("opt", {})["access"] = access
    return {"summary": summary, "security": [{"bearer": [*access]}] if access else [], **more}


def guard(tokens: TokenKeys) -> Guard:
    """The guard of all routes: deny unless the route says who may, and the token is theirs."""

    def check(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        access: tuple[str, ...] | None = handler.opt.get("access")
        if access == PUBLIC or connection.scope.get("method") == "OPTIONS":
            return  # OPTIONS is the framework's own, and only names the methods
        header = connection.headers.get("authorization", "")
        who = tokens.verify(bearer(header.encode("latin-1")), now_ms())
        if access is None or who.role not in access:
            raise not_allowed()
        connection.scope["user"] = who

    return check


def not_allowed() -> NotAllowed:
    """Signed in, but not for this; nothing is said about what is there."""
    return NotAllowed(
        "not_allowed", "Your sign-in is not for this.", "Sign in with the right account."
    )


def visitor(request: Request[Any, Any, Any], tokens: NamedDependency[TokenKeys]) -> Access | None:
    """Who asks on a public route, or None without a sign-in; a wrong one is refused."""
    header = request.headers.get("authorization", "")
    return tokens.verify(bearer(header.encode("latin-1")), now_ms()) if header else None


def signed_in(request: Request[Any, Any, Any]) -> Access:
    """Who asks, as the guard found; the dependency `who` of all routes that are not public."""
    who: Access = request.scope["user"]
    return who
