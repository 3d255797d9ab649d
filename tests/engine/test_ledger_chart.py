"""Account names: what the constructors make parses back, and nothing else is an account."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger import chart
from engine.ledger.chart import Account, Kind

owners = st.text(min_size=1, max_size=64).filter(chart.is_owner_id)
OWNED = {
    Kind.CLEARING: chart.clearing,
    Kind.STORE: chart.store,
    Kind.PENDING: chart.promoter_pending,
    Kind.AVAILABLE: chart.promoter_available,
    Kind.DEBT: chart.promoter_debt,
}
SINGLE = (chart.ESCROW, chart.HQ, chart.FEES, chart.GOODWILL, chart.SUBSIDY)


@given(st.sampled_from(sorted(OWNED)), owners)
def test_owned_names_read_back(kind: Kind, owner: str) -> None:
    account = OWNED[kind](owner)
    assert chart.parse(account) == account
    assert chart.kind_of(account) is kind
    assert chart.owner_of(account) == owner


def test_promoters_and_stores_authorise_and_all_others_only_record() -> None:
    kinds = {chart.kind_of(make("x")) for make in OWNED.values() if chart.authorises(make("x"))}
    assert kinds == {Kind.PENDING, Kind.AVAILABLE, Kind.DEBT, Kind.STORE}
    assert not any(chart.authorises(account) for account in SINGLE)
    assert {chart.kind_of(account) for account in SINGLE} | set(OWNED) == set(Kind)
    assert all(chart.owner_of(account) is None for account in SINGLE)


NO_ACCOUNTS = [
    *("", "bank", "store", "store:", "store:a:b", "clearing:", "promoter:g1", "promoter:g1:paid"),
    *("escrow:1", "promoter::pending", "store:a b", "store:a\x00", "HQ", "pending"),
]


@pytest.mark.parametrize("text", NO_ACCOUNTS)
def test_anything_else_is_no_account(text: str) -> None:
    with pytest.raises(ValueError, match="is not an account"):
        chart.parse(text)


@pytest.mark.parametrize("owner", ["", "a:b", "a b", "x" * 65, "a\n", "\x7f"])
def test_an_owner_that_would_blur_a_name_is_refused(owner: str) -> None:
    for make in OWNED.values():
        with pytest.raises(ValueError, match="cannot name an account"):
            make(owner)


def test_only_a_share_that_goes_back_to_escrow_is_a_clawback() -> None:
    pending = chart.promoter_pending("g1")
    assert chart.is_clawback(pending, chart.ESCROW)
    assert chart.is_clawback(chart.store("s1"), chart.ESCROW)
    assert not chart.is_clawback(chart.HQ, chart.ESCROW)
    assert not chart.is_clawback(pending, chart.promoter_available("g1"))
    assert not chart.is_clawback(chart.ESCROW, pending)
    assert chart.kind_of(Account("promoter:店员01:pending")) is Kind.PENDING
