"""The archive of settled batches, read from its first event to its last into the scratch file.

Two tables come out of it: `told_claims`, each claim as its events leave it, and `told_ids`, the
rows (commands, attempts, facts, refunds) whose event was settled, with its place. Events that
went to the dead letters, and were not settled from there, had no effect and leave no trace here;
their claims are in `aside`.
"""

import sqlite3
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding
from engine.audit.sources import Given, pages
from engine.events import (
    AnyEvent,
    ClaimHeld,
    ClaimPaid,
    ClaimPaying,
    ClaimReleased,
    ClaimReturned,
    OfferClosed,
    OfferOpened,
    OfferRestocked,
    PaymentLate,
    PaymentRefused,
    TeamSubsidised,
    decode,
)

BATCHES_MAX = 16  # read at once; a batch is at most 500 events, some 150 kB

_TABLES = """
CREATE TABLE told_claims (claim_id TEXT PRIMARY KEY, claim BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE told_ids (
    kind TEXT NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    word TEXT NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE aside (claim_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unsettled (
    shard INTEGER, epoch INTEGER, seq INTEGER, PRIMARY KEY (shard, epoch, seq)
) WITHOUT ROWID;
"""
_LETTERS = (
    "SELECT shard, epoch, seq, claim_id FROM dead_letters WHERE state IN ('open','discarded')"
)
_BATCHES = """
SELECT first_seq, last_seq, payload FROM event_batches
WHERE shard = :shard AND epoch = :epoch AND NOT orphaned ORDER BY first_seq
"""

Payload = list[tuple[int, dict[str, str]]]


class ToldClaim(msgspec.Struct, kw_only=True):
    """A claim as its events leave it; the names are those of the order's columns."""

    offer_id: str
    campaign_id: str
    version: int
    buyer_id: str
    qty: int
    units: int
    price_id: str
    unit_price_fen: int
    claim_state: str
    claimed_at_ms: int
    expires_at_ms: int
    idem_key: str
    body_hash: str
    attempt_id: str | None = None
    payment_id: str | None = None


_decoder = msgspec.msgpack.Decoder(ToldClaim)
_payload = msgspec.msgpack.Decoder(Payload)


class ArchiveReader:
    """Reads epochs in their order and notes what they tell; problems go to the finding."""

    def __init__(self, given: Given, session: AsyncSession, finding: Finding) -> None:
        self._session, self._finding = session, finding
        self._scratch: sqlite3.Connection = given.scratch
        self._claims: dict[str, ToldClaim] = {}  # of the batches that are being read
        self._shard = self._epoch = 0
        self._letters = False  # any at all: most evenings have none, and need not be asked

    async def begin(self) -> None:
        """Make the tables, and note what could not be settled."""
        self._scratch.executescript(_TABLES)
        async for page in pages(self._session, _LETTERS):
            self._letters = True
            for row in page:
                place = (row["shard"], row["epoch"], row["seq"])
                self._scratch.execute("INSERT OR IGNORE INTO unsettled VALUES (?, ?, ?)", place)
                if row["claim_id"]:
                    self._scratch.execute(
                        "INSERT OR IGNORE INTO aside VALUES (?)", (row["claim_id"],)
                    )

    async def read_epoch(self, shard: int, epoch: int, last_seq: int) -> None:
        """All batches of one epoch, which is settled up to `last_seq`."""
        self._shard, self._epoch = shard, epoch
        after, name = 0, f"shard {shard} epoch {epoch}"
        given = {"shard": shard, "epoch": epoch}
        async for page in pages(self._session, _BATCHES, given, BATCHES_MAX):
            self._scratch.execute("BEGIN")
            for row in page:
                first, last = row["first_seq"], row["last_seq"]
                follows = first == after + 1
                self._finding.expect(follows, f"{name}: a batch begins at {first} after {after}")
                self._read_batch(f"{name} batch {first}", first, last, row["payload"])
                after = last
            self._keep()
            self._scratch.execute("COMMIT")
        text = f"{name}: the archive ends at seq {after}, settled is {last_seq}"
        self._finding.expect(after == last_seq, text)

    def _read_batch(self, name: str, first: int, last: int, payload: bytes) -> None:
        try:
            entries = _payload.decode(payload)
        except msgspec.DecodeError as error:
            self._finding.problem(f"{name} cannot be read: {error}")
            return
        seqs = [seq for seq, _ in entries]
        whole = seqs == list(range(first, last + 1))
        self._finding.expect(whole, f"{name} to {last} holds seqs {seqs[:1]} to {seqs[-1:]}")
        for seq, fields in entries:
            self._finding.look()
            place = (self._shard, self._epoch, seq)
            if not self._has(
                "SELECT 1 FROM unsettled WHERE (shard, epoch, seq) = (?, ?, ?)", place
            ):
                self._read_event(seq, fields)

    def _has(self, sql: str, given: tuple[Any, ...]) -> bool:
        return self._letters and self._scratch.execute(sql, given).fetchone() is not None

    def _read_event(self, seq: int, fields: dict[str, str]) -> None:
        name = f"seq {seq} of shard {self._shard} epoch {self._epoch}"
        try:
            event = decode(seq, fields)
        except ValueError as error:
            self._finding.problem(f"{name} was settled and cannot be read: {error}")
            return
        claim_id = getattr(event, "claim_id", None)
        if claim_id and self._has("SELECT 1 FROM aside WHERE claim_id = ?", (claim_id,)):
            return
        self._note_ids(event, name)
        if claim_id and fields["kind"].startswith(("claim.", "payment.")):  # seats: team_walk.py
            why = self._step(claim_id, event)
            if why:
                self._finding.problem(f"{name}: {fields['kind']} of {claim_id}, which is {why}")

    def _note_ids(self, event: AnyEvent, name: str) -> None:
        match event:
            case OfferOpened() | OfferRestocked() | OfferClosed():
                self._note("command", event.command_id, event.seq, "", name)
            case ClaimPaying():
                self._note("attempt", event.attempt_id, event.seq, "", name)
            case ClaimReleased():
                if event.attempt_id:
                    self._note("released", event.attempt_id, event.seq, "", name)
            case ClaimPaid():
                self._note("fact", event.fact_id, event.seq, "paid", name)
            case PaymentLate():
                self._note("fact", event.fact_id, event.seq, "late", name)
            case PaymentRefused():
                self._note("fact", event.fact_id, event.seq, "refused", name)
            case ClaimReturned():
                self._note("refund", event.refund_id, event.seq, "", name)
            case TeamSubsidised():
                self._note("team command", event.command_id, event.seq, "", name)

    def _note(self, kind: str, row_id: str, seq: int, word: str, name: str) -> None:
        # An attempt's claim.paying is said again after a rebuild that had lost it; the rest once.
        verb = "REPLACE" if kind == "attempt" else "IGNORE"
        noted = self._scratch.execute(
            f"INSERT OR {verb} INTO told_ids VALUES (?, ?, ?, ?, ?)",
            (kind, row_id, self._epoch, seq, word),
        )
        if noted.rowcount != 1:
            self._finding.problem(f"{name}: {kind} {row_id} was settled twice")

    def _claim(self, claim_id: str) -> ToldClaim | None:
        if claim_id not in self._claims:
            row = self._scratch.execute(
                "SELECT claim FROM told_claims WHERE claim_id = ?", (claim_id,)
            ).fetchone()
            if row is None:
                return None
            self._claims[claim_id] = _decoder.decode(row[0])
        return self._claims[claim_id]

    def _keep(self) -> None:
        rows = [(one, msgspec.msgpack.encode(claim)) for one, claim in self._claims.items()]
        self._scratch.executemany("INSERT OR REPLACE INTO told_claims VALUES (?, ?)", rows)
        self._claims.clear()

    def _step(self, claim_id: str, event: AnyEvent) -> str:
        """Take one event; the state that forbids it, '' when none does."""
        claim = self._claim(claim_id)
        if isinstance(event, ClaimHeld):
            if claim is not None:
                return claim.claim_state
            self._claims[claim_id] = _held(event)
            return ""
        if claim is None:
            return "unknown"
        state = claim.claim_state
        match event:
            case ClaimPaying() if state in ("held", "paying"):
                claim.claim_state, claim.attempt_id = "paying", event.attempt_id
            case ClaimPaid() if state in (("released",) if event.retaken else ("held", "paying")):
                claim.claim_state, claim.payment_id = "paid", event.fact_id
            case ClaimReleased() if state in ("held", "paying"):
                claim.claim_state = "released"
            case ClaimReturned() if state == "paid" and claim.units - event.units == event.left:
                claim.units = event.left
                claim.claim_state = "paid" if event.left else "returned"
            case PaymentLate() | PaymentRefused():
                pass
            case _:
                return state
        return ""


def _held(event: ClaimHeld) -> ToldClaim:
    return ToldClaim(
        offer_id=event.offer_id,
        campaign_id=event.campaign_id,
        version=event.version,
        buyer_id=event.buyer_id,
        qty=event.qty,
        units=event.qty,
        price_id=event.price_id,
        unit_price_fen=event.price_fen,
        claim_state="held",
        claimed_at_ms=event.at_ms,
        expires_at_ms=event.expires_at_ms,
        idem_key=event.key,
        body_hash=event.body_hash,
    )


def told_claim(scratch: sqlite3.Connection, claim_id: str) -> ToldClaim | None:
    """The claim as the archive tells it."""
    row = scratch.execute("SELECT claim FROM told_claims WHERE claim_id = ?", (claim_id,))
    found = row.fetchone()
    return None if found is None else _decoder.decode(found[0])
