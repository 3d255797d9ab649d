"""The adapter for our sandbox provider: httpx in, port shapes out.

It never retries by itself: whether to ask again is the caller's decision, made from a committed
row. Anything short of a readable answer is ProviderUnreachable, that is an unknown outcome.
Requests are signed; answers are trusted by their connection (loopback, or TLS in between).
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import httpx
import msgspec

from campaigns.payment.provider import (
    Bill,
    BillRow,
    CloseResult,
    Fen,
    Id,
    Ms,
    Notification,
    PaymentStatus,
    Period,
    Prepay,
    ProviderRefused,
    ProviderUnreachable,
    RefundStatus,
)
from campaigns.payment.signature import derive_key, sign, verify
from engine.ids import now_ms
from engine.settings import Settings

MERCHANT_SERIAL: Final = "merchant-1"
PROVIDER_SERIAL: Final = "provider-1"
CALLBACK_SUCCESS: Final = b'{"code":"SUCCESS"}'
ANSWER_BYTES_MAX: Final = 1_048_576
CONNECTIONS_MAX: Final = 32
BILL_PAGE_MAX: Final = 1_000  # rows in one answer: about 300 KB
BILL_PAGES_MAX: Final = 1_000

T = TypeVar("T")


class PrepayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /v1/prepay`."""

    attempt_id: Id
    amount_fen: Fen
    description: Annotated[str, msgspec.Meta(max_length=127)]
    expires_at_ms: Ms
    notify_url: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class RefundRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /v1/refunds`."""

    refund_no: Id
    transaction_id: Id
    amount_fen: Fen
    total_fen: Fen
    reason: Annotated[str, msgspec.Meta(max_length=80)]


class BillPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /v1/bills/{period}`: up to `limit` rows, and whether more follow."""

    period: Period
    rows: tuple[BillRow, ...]
    more: bool


class Periods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answer of `GET /v1/periods`: the open period, numbered from 1; all before it are closed."""

    open: Period


class Refusal(msgspec.Struct, frozen=True):
    """Body of every answer that is not 2xx."""

    code: str
    message: str


class SandboxClient:
    """PaymentProvider over the sandbox's HTTP interface; `async with` or `aclose()` ends it."""

    callback_success: bytes = CALLBACK_SUCCESS

    def __init__(
        self, url: str, secret: str, *, timeout_ms: int, bill_page_max: int = BILL_PAGE_MAX
    ) -> None:
        self._bill_page_max = bill_page_max
        self._key = derive_key(secret, MERCHANT_SERIAL)
        self._callback_keys = {PROVIDER_SERIAL: derive_key(secret, PROVIDER_SERIAL)}
        self._timeout_s = timeout_ms / 1000
        self._http = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(self._timeout_s),
            # No proxy of the environment may stand between us and the provider.
            transport=httpx.AsyncHTTPTransport(
                retries=0, limits=httpx.Limits(max_connections=CONNECTIONS_MAX)
            ),
            trust_env=False,
            follow_redirects=False,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "SandboxClient":
        """The client of `provider_url` with `sandbox_secret` and `provider_timeout_ms`."""
        return cls(
            settings.provider_url,
            settings.sandbox_secret,
            timeout_ms=settings.provider_timeout_ms,
        )

    async def __aenter__(self) -> "SandboxClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def prepay(
        self,
        attempt_id: str,
        amount_fen: int,
        description: str,
        expires_at_ms: int,
        notify_url: str,
    ) -> Prepay:
        """See PaymentProvider."""
        request = PrepayRequest(attempt_id, amount_fen, description, expires_at_ms, notify_url)
        return await self._call("POST", "/v1/prepay", Prepay, request)

    async def query(self, attempt_id: str) -> PaymentStatus:
        """See PaymentProvider."""
        return await self._call("GET", f"/v1/attempts/{_id(attempt_id)}", PaymentStatus)

    async def close(self, attempt_id: str) -> CloseResult:
        """See PaymentProvider."""
        return await self._call("POST", f"/v1/attempts/{_id(attempt_id)}/close", CloseResult)

    async def refund(
        self, refund_no: str, transaction_id: str, amount_fen: int, total_fen: int, reason: str
    ) -> RefundStatus:
        """See PaymentProvider."""
        request = RefundRequest(refund_no, transaction_id, amount_fen, total_fen, reason)
        return await self._call("POST", "/v1/refunds", RefundStatus, request)

    async def query_refund(self, refund_no: str) -> RefundStatus:
        """See PaymentProvider."""
        return await self._call("GET", f"/v1/refunds/{_id(refund_no)}", RefundStatus)

    async def bill(self, period: str) -> Bill:
        """See PaymentProvider. The sandbox's periods are "1", "2" …; see `close_period`."""
        rows: list[BillRow] = []
        for _ in range(BILL_PAGES_MAX):
            after = rows[-1].row if rows else 0
            path = f"/v1/bills/{_id(period)}?after={after}&limit={self._bill_page_max}"
            page = await self._call("GET", path, BillPage)
            rows += page.rows
            if not page.more:
                return Bill(period=period, rows=tuple(rows))
        raise ProviderUnreachable(f"the bill of {period} has more than {len(rows)} rows")

    async def open_period(self) -> str:
        """The period in which money moves now (the sandbox's own; WeChat's is the day)."""
        return (await self._call("GET", "/v1/periods", Periods)).open

    async def close_period(self, period: str) -> str:
        """Close `period` and return the one open then; closing a closed one again is harmless."""
        path = f"/v1/periods/{_id(period)}/close"
        return (await self._call("POST", path, Periods)).open

    def verify_callback(self, headers: Mapping[str, str], raw_body: bytes) -> Notification:
        """See PaymentProvider."""
        verify(headers, raw_body, self._callback_keys, now_ms=now_ms())
        try:
            return msgspec.json.decode(raw_body, type=Notification)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProviderRefused("bad_notification", str(error)) from error

    async def _call(self, method: str, path: str, kind: type[T], request: Any = None) -> T:
        body = b"" if request is None else msgspec.json.encode(request)
        headers = sign(MERCHANT_SERIAL, self._key, body, now_ms=now_ms(), target=f"{method} {path}")
        headers["content-type"] = "application/json"
        headers["accept-encoding"] = "identity"  # so that the limit on bytes is the limit read
        try:
            # httpx limits each read; a peer that drips bytes would never reach that limit.
            async with asyncio.timeout(self._timeout_s):
                status, answer = await self._exchange(method, path, body, headers)
        except TimeoutError as error:
            raise ProviderUnreachable("timeout") from error
        except httpx.HTTPError as error:
            raise ProviderUnreachable(type(error).__name__) from error
        return _decoded(status, answer, kind)

    async def _exchange(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        answer = bytearray()
        async with self._http.stream(method, path, content=body, headers=headers) as response:
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    raise ProviderUnreachable("the answer is too long")
        return response.status_code, bytes(answer)


def _id(text: str) -> str:
    """`text` if it can stand in a path; ids come from our rows, so anything else is a bug."""
    try:
        return msgspec.convert(text, Id)
    except msgspec.ValidationError as error:
        raise ProviderRefused("bad_id", str(error)) from error


def _decoded(status: int, answer: bytes, kind: type[T]) -> T:
    if status == 429 or not 200 <= status < 500:
        raise ProviderUnreachable(f"status {status}")
    try:
        if status < 300:
            return msgspec.json.decode(answer, type=kind)
        refusal = msgspec.json.decode(answer, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Not the provider's own words, so perhaps not the provider: nothing is known.
        raise ProviderUnreachable(f"status {status} with an unreadable answer") from error
    if status < 400:
        raise ProviderUnreachable(f"status {status}")
    raise ProviderRefused(refusal.code, refusal.message)
