"""HQ's board over HTTP, and the rows behind it as CSV."""

from litestar import Controller, get
from litestar.response import Stream

from campaigns import exports
from campaigns.auth import HQ, route
from campaigns.board.schemas import BoardOut
from campaigns.board.service import CSV_HEADER, SINCE_MS
from campaigns.given import TheBoard, TheDb, TheSettings, Who
from campaigns.order import service as orders
from campaigns.order.service import OrderFilter
from engine.ids import now_ms


class BoardController(Controller):
    """The last 24 hours; ask once a second at most, more often gives the same."""

    path = "/v1/board"
    tags = ("board",)

    @get("/", **route(HQ, "The live board: figures, claims per second, stock, laws"))
    async def board(self, board: TheBoard) -> BoardOut:
        """`series` has one entry for each of the last 600 seconds."""
        return await board.now()

    @get(
        "/orders.csv",
        **route(
            HQ,
            "The orders behind the board, as CSV",
            {422: "The CSV would be too large (`too_many_rows`)."},
            media_type="text/csv",
        ),
    )
    async def orders(self, who: Who, db: TheDb, settings: TheSettings) -> Stream:
        """All that were claimed in the last 24 hours, newest first."""
        batches = await orders.csv_batches(
            db,
            who,
            OrderFilter(from_ms=now_ms() - SINCE_MS),
            rows_max=settings.csv_rows_max,
            batch_max=settings.csv_batch_max,
        )
        return exports.answer("board-orders", orders.CSV_HEADER, batches)

    @get("/offers.csv", **route(HQ, "The board's offers, as CSV", media_type="text/csv"))
    async def offers(self, board: TheBoard) -> Stream:
        """Their stock at this moment."""
        return exports.answer("board-offers", CSV_HEADER, await board.offers_csv())
