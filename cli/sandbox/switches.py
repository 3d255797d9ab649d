"""The switches: which payments and answers go wrong, and how. All off at first.

A rule hits an attempt that it names, or a share of all attempts: whether an attempt is in the
share is a hash of (seed, switch, attempt), so a run can be repeated and the order plays no part.
A paying customer may also ask for a trouble by name in the body of `POST /pay/…`.
They are kept in the store, set whole by `PUT /switches` (what is missing is off).
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from campaigns.payment.provider import Code, Currency, Id
from cli.sandbox.frequency import may_come
from engine.money import FEN_MAX

Operation = Literal["prepay", "query", "close", "refund", "query_refund", "bill", "periods", "pay"]
Trouble = Literal[
    "delayed",
    "paid_after_close",
    "lost",
    "doubled",
    "forged",
    "out_of_order",
    "wrong_amount",
]
WaitMs = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Names = Annotated[tuple[Id, ...], msgspec.Meta(max_length=1_000)]
Operations = Annotated[tuple[Operation, ...], msgspec.Meta(max_length=16)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hits `attempts` (attempt ids, or refund numbers for calls about refunds) and a share."""

    share_bps: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    attempts: Names = ()

    def hits(self, switch: str, seed: int, key: str) -> bool:
        """Whether the rule of `switch` hits the attempt or refund `key`."""
        if key in self.attempts:
            return True
        digest = hashlib.sha256(f"{seed}\n{switch}\n{key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % 10_000 < self.share_bps


class Delayed(Rule, frozen=True):
    """The callback leaves after `ms`."""

    ms: WaitMs = 2_000


class OutOfOrder(Rule, frozen=True):
    """The callback waits until one of a later payment arrived, at most `wait_ms`."""

    wait_ms: WaitMs = 2_000


class WrongAmount(Rule, frozen=True):
    """The customer pays `delta_fen` more than asked (at least 1 fen), in `currency`."""

    delta_fen: Annotated[int, msgspec.Meta(ge=-FEN_MAX, le=FEN_MAX)] = -1
    currency: Currency = "CNY"


class Slow(Rule, frozen=True):
    """The answer leaves `ms` after the work was done; no `operations` means all."""

    ms: WaitMs = 1_000
    operations: Operations = ()


class Failing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The next `count` answers fail, `before` the work or `after` it was done (and kept).

    `closed` cuts the connection in the middle of the answer. No `operations` or no `attempts`
    means all.
    """

    count: Count = 0
    how: Literal["500", "429", "closed"] = "500"
    when: Literal["before", "after"] = "before"
    operations: Operations = ()
    attempts: Names = ()


class RefundTrouble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Refunds stay `processing` for a while; the next `fail_next` fail with `code`."""

    processing_ms: WaitMs = 0
    fail_next: Count = 0
    code: Code = "USER_ACCOUNT_ABNORMAL"


class Frequency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a second may bring of refund calls and of error answers to them; 0: any number."""

    refunds_per_s: Count = 0
    refund_errors_per_s: Count = 0


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All switches; the default is an honest and quick provider."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    delayed: Delayed = Delayed()
    paid_after_close: Rule = Rule()
    lost: Rule = Rule()
    doubled: Rule = Rule()
    forged: Rule = Rule()
    out_of_order: OutOfOrder = OutOfOrder()
    wrong_amount: WrongAmount = WrongAmount()
    slow: Slow = Slow()
    failing: Failing = Failing()
    refunds: RefundTrouble = RefundTrouble()
    frequency: Frequency = Frequency()

    def troubles(self, attempt_id: str, asked: Iterable[Trouble]) -> frozenset[Trouble]:
        """What goes wrong with the payment of an attempt: by rule, or because it was asked for."""
        rules: dict[Trouble, Rule] = {
            "delayed": self.delayed,
            "paid_after_close": self.paid_after_close,
            "lost": self.lost,
            "doubled": self.doubled,
            "forged": self.forged,
            "out_of_order": self.out_of_order,
            "wrong_amount": self.wrong_amount,
        }
        hit = {name for name, rule in rules.items() if rule.hits(name, self.seed, attempt_id)}
        return frozenset(hit | set(asked))


def load(conn: sqlite3.Connection) -> Switches:
    """The switches as they were last set."""
    row = conn.execute("SELECT value FROM meta WHERE name = 'switches'").fetchone()
    return Switches() if row is None else msgspec.json.decode(row[0], type=Switches)


def save(conn: sqlite3.Connection, switches: Switches) -> Switches:
    """Set all switches."""
    value = msgspec.json.encode(switches)
    conn.execute("INSERT OR REPLACE INTO meta VALUES ('switches', ?)", (value,))
    return switches


class Plight(msgspec.Struct, frozen=True):
    """What happens to one answer: a wait, and perhaps a failure before or after the work."""

    slow_ms: int = 0
    how: Literal["500", "429", "closed"] | None = None
    when: Literal["before", "after"] = "before"


def take_plight(conn: sqlite3.Connection, operation: Operation, key: str) -> Plight:
    """What happens to this answer; a failure is counted off here."""
    if operation == "pay":
        # The customer only knows the prepay id; rules name attempts.
        row = conn.execute("SELECT attempt_id FROM attempts WHERE prepay_id = ?", (key,)).fetchone()
        key = key if row is None else row[0]
    switches = load(conn)
    slow, failing = switches.slow, switches.failing
    is_slow = operation in (slow.operations or (operation,)) and slow.hits(
        "slow", switches.seed, key
    )
    slow_ms = slow.ms if is_slow else 0
    fails = (
        failing.count > 0
        and operation in (failing.operations or (operation,))
        and key in (failing.attempts or (key,))
    )
    often = switches.frequency
    if operation == "refund" and not may_come(
        conn, often.refunds_per_s, often.refund_errors_per_s, fails
    ):
        return Plight(slow_ms, "429")
    if not fails:
        return Plight(slow_ms)
    left = msgspec.structs.replace(failing, count=failing.count - 1)
    save(conn, msgspec.structs.replace(switches, failing=left))
    return Plight(slow_ms, failing.how, failing.when)


def take_refund_failure(conn: sqlite3.Connection) -> str | None:
    """The code with which this refund fails, counted off; or None."""
    switches = load(conn)
    refunds = switches.refunds
    if refunds.fail_next == 0:
        return None
    left = msgspec.structs.replace(refunds, fail_next=refunds.fail_next - 1)
    save(conn, msgspec.structs.replace(switches, refunds=left))
    return refunds.code
