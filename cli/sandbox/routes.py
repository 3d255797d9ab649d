"""The sandbox's addresses: each request becomes an act on the store, or is refused.

Merchant's (signed): POST /v1/prepay · GET /v1/attempts/{id} · POST /v1/attempts/{id}/close ·
POST /v1/refunds · GET /v1/refunds/{no} · GET /v1/bills/{period}?after=ROW&limit=N ·
GET /v1/periods · POST /v1/periods/{period}/close. Customer's: POST /pay/{prepay_id}.
Operator's (loopback only): GET and PUT /switches · GET /notices/{attempt_id} · GET /counts.
"""

import re
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec

from campaigns.payment.sandbox_client import PrepayRequest, RefundRequest
from cli.sandbox import bills, notices, payments, refunds, switches
from cli.sandbox.limits import Limits
from cli.sandbox.refusal import Refused
from cli.sandbox.switches import Operation, Switches

T = TypeVar("T")


class Call(NamedTuple):
    """One request, read and (for the merchant's) verified."""

    name: str  # the part of the path that names something
    query: str
    body: bytes
    now_ms: int
    base_url: str
    limits: Limits


class Act(NamedTuple):
    """What a request does: `work` in one transaction; `key` is what switches know it by."""

    key: str
    work: Callable[[sqlite3.Connection], Any]


class Route(NamedTuple):
    """A route; `operation` is what `slow` and `failing` know it by, None for the operator's."""

    method: str
    path: re.Pattern[str]
    operation: Operation | None
    is_signed: bool
    make: Callable[[Call], Act]


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "BAD_REQUEST", str(error)) from error


def _prepay(call: Call) -> Act:
    request = _decode(call.body, PrepayRequest)
    return Act(
        request.attempt_id,
        lambda conn: payments.prepay(conn, call.now_ms, call.limits, call.base_url, request),
    )


def _pay(call: Call) -> Act:
    request = _decode(call.body or b"{}", payments.PayRequest)
    return Act(
        call.name,
        lambda conn: payments.pay(conn, call.now_ms, call.limits, call.name, request),
    )


def _query(call: Call) -> Act:
    return Act(call.name, lambda conn: payments.query(conn, call.name))


def _close(call: Call) -> Act:
    return Act(call.name, lambda conn: payments.close(conn, call.name))


def _refund(call: Call) -> Act:
    request = _decode(call.body, RefundRequest)
    return Act(
        request.refund_no,
        lambda conn: refunds.refund(conn, call.now_ms, call.limits, request),
    )


def _query_refund(call: Call) -> Act:
    return Act(call.name, lambda conn: refunds.query(conn, call.now_ms, call.limits, call.name))


def _bill(call: Call) -> Act:
    after = _number(call.query, "after", 0)
    rows_max = min(max(1, _number(call.query, "limit", 100)), call.limits.bill_page_max)
    return Act(call.name, lambda conn: bills.page(conn, call.name, after, rows_max))


def _number(query: str, name: str, default: int) -> int:
    text = parse_qs(query, keep_blank_values=True).get(name, [str(default)])[-1]
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise Refused(400, "BAD_REQUEST", f"`{name}` is a whole number.")
    return int(text)


def _periods(call: Call) -> Act:
    return Act("", bills.periods)


def _close_period(call: Call) -> Act:
    return Act(call.name, lambda conn: bills.close_period(conn, call.name))


def _get_switches(call: Call) -> Act:
    return Act("", switches.load)


def _put_switches(call: Call) -> Act:
    asked = _decode(call.body, Switches)
    return Act("", lambda conn: switches.save(conn, asked))


def _notices(call: Call) -> Act:
    return Act("", lambda conn: notices.seen(conn, call.name))


def _counts(call: Call) -> Act:
    return Act("", notices.counts)


def _route(
    method: str,
    path: str,
    operation: Operation | None,
    make: Callable[[Call], Act],
    *,
    is_signed: bool = True,
) -> Route:
    pattern = re.compile(path.replace("{}", r"([A-Za-z0-9_-]{1,64})") + r"\Z")
    return Route(method, pattern, operation, is_signed, make)


ROUTES = (
    _route("POST", "/v1/prepay", "prepay", _prepay),
    _route("GET", "/v1/attempts/{}", "query", _query),
    _route("POST", "/v1/attempts/{}/close", "close", _close),
    _route("POST", "/v1/refunds", "refund", _refund),
    _route("GET", "/v1/refunds/{}", "query_refund", _query_refund),
    _route("GET", "/v1/bills/{}", "bill", _bill),
    _route("GET", "/v1/periods", "periods", _periods),
    _route("POST", "/v1/periods/{}/close", "periods", _close_period),
    _route("POST", "/pay/{}", "pay", _pay, is_signed=False),
    _route("GET", "/switches", None, _get_switches, is_signed=False),
    _route("PUT", "/switches", None, _put_switches, is_signed=False),
    _route("GET", "/notices/{}", None, _notices, is_signed=False),
    _route("GET", "/counts", None, _counts, is_signed=False),
)


def find(method: str, path: str) -> tuple[Route, str]:
    """The route of a request and the name in its path; Refused 404 or 405."""
    is_known = False
    for route in ROUTES:
        match = route.path.match(path)
        if match is None:
            continue
        if route.method == method:
            return route, match[1] if match.re.groups else ""
        is_known = True
    if is_known:
        raise Refused(405, "METHOD", "This address does not take this method.")
    raise Refused(404, "NOT_FOUND", "There is nothing at this address.")
