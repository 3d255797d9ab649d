"""Every limit of the sandbox in one place. It is a server of its own, with its own limits."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of requests, tables, notices and waits; tests pass smaller ones."""

    body_bytes_max: int = 65_536
    connections_max: int = 512
    attempts_max: int = 1_000_000
    refunds_per_payment_max: int = 50  # as at WeChat Pay
    bill_page_max: int = 1_000

    # Notices: 0.2 s doubling to 30 s; 15 tries take about four minutes.
    notice_tries_max: int = 15
    notice_time_max_ms: int = 600_000
    notice_base_ms: int = 200
    notice_cap_ms: int = 30_000
    notice_timeout_ms: int = 5_000
    notice_answer_bytes_max: int = 4_096
    notices_in_flight_max: int = 32
    refunds_settled_max: int = 100  # in one turn of the courier
