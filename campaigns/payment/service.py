"""Payments: begin one, record what was paid, carry it to its claim.

begin.py answers "where do I pay", facts.py "what was paid", reconcile.py "what did nobody tell
us", attempts.py what an attempt's row may become. The watch that queries and closes is
workers/pay_watch.py.
"""

from campaigns.payment.begin import CALLBACK_PATH, PayPage, begin_payment
from campaigns.payment.facts import apply_fact, notification_of, record_payment
from campaigns.payment.reconcile import record_bill

__all__ = [
    "CALLBACK_PATH",
    "PayPage",
    "apply_fact",
    "begin_payment",
    "notification_of",
    "record_bill",
    "record_payment",
]
