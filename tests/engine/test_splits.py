"""Splits: exact to the fen, capped, growing with the amount, blind to the path of refunds."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import BadInput
from engine.ledger.splits import (
    Credit,
    Shares,
    SplitPlan,
    from_snapshot,
    reversal,
    split,
    to_snapshot,
    validate_plan,
)
from engine.money import BPS, FEN_MAX, floor_share

FULL = Credit(promoter_id="g1", upline_id="g2", store_id="s1")
amounts = st.one_of(st.integers(0, 300), st.integers(0, 2_000_000), st.integers(0, FEN_MAX))


@st.composite
def plans(draw: st.DrawFn) -> SplitPlan:
    """Any feasible plan; the cap is often met exactly, where rounding up would break it."""
    step = draw(
        st.sampled_from([1, 50, 100, 500])
    )  # people write round figures; many fen tie there
    cuts = sorted(draw(st.lists(st.integers(0, BPS // step), min_size=3, max_size=3)))
    cuts = [cut * step for cut in cuts]
    promoter, upline, store = cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1]
    cap = draw(st.one_of(st.just(cuts[2]), st.integers(cuts[2], BPS)))
    return SplitPlan(promoter, upline, store, draw(st.booleans()), cap)


guides = st.sampled_from([None, "g1", "g2", "g3"])
credits_ = st.builds(Credit, guides, guides, st.sampled_from([None, "s1"]), guides)


def amounts_of(shares: Shares) -> tuple[int, ...]:
    return tuple(msgspec.structs.astuple(shares))


@given(amounts, plans(), credits_)
def test_shares_sum_exactly_and_stay_under_the_cap(
    amount: int, plan: SplitPlan, credit: Credit
) -> None:
    shares = split(amount, plan, credit)
    assert shares.total_fen == amount
    assert all(0 <= fen <= amount for fen in amounts_of(shares))
    assert shares.hq_fen == amount - shares.roles_fen
    assert shares.roles_fen <= floor_share(amount, plan.cap_bps)


@given(amounts, plans())
def test_each_role_is_within_two_fen_of_its_exact_share(amount: int, plan: SplitPlan) -> None:
    shares = split(amount, plan, FULL)
    upline_bps = plan.upline_bps if plan.level_two else 0
    given_bps = (plan.promoter_bps, upline_bps, plan.store_bps)
    exact = [Fraction(amount * bps, BPS) for bps in (*given_bps, BPS - sum(given_bps))]
    assert all(abs(fen - part) < 2 for fen, part in zip(amounts_of(shares), exact, strict=True))


@given(amounts.filter(lambda fen: fen < FEN_MAX), plans(), credits_)
@example(49, SplitPlan(1000, 500, 300, True, 1800), FULL)  # plain largest remainder: a role falls
@example(14, SplitPlan(1000, 300, 800, True, 2100), FULL)
@example(19, SplitPlan(1000, 500, 300, True, 1800), FULL)  # a floor for each role: HQ falls
def test_no_share_shrinks_when_the_amount_grows(
    amount: int, plan: SplitPlan, credit: Credit
) -> None:
    small, large = split(amount, plan, credit), split(amount + 1, plan, credit)
    grown = [b - a for a, b in zip(amounts_of(small), amounts_of(large), strict=True)]
    assert min(grown) >= 0
    assert sum(grown) == 1


@given(st.data(), st.integers(1, 10**7), plans(), credits_)
def test_partial_refunds_on_any_path_leave_the_split_of_what_is_left(
    data: st.DataObject, paid: int, plan: SplitPlan, credit: Credit
) -> None:
    posted, refunded = split(paid, plan, credit), 0
    taken: tuple[int, ...] = (0, 0, 0, 0)
    for _ in range(data.draw(st.integers(1, 8))):
        if refunded == paid:
            break
        amount = data.draw(st.integers(1, paid - refunded))
        held = Shares(*(a - b for a, b in zip(amounts_of(posted), taken, strict=True)))
        refunded += amount
        back = reversal(held, paid, refunded, plan, credit)
        assert min(amounts_of(back)) >= 0
        assert back.total_fen == amount
        taken = tuple(a + b for a, b in zip(taken, amounts_of(back), strict=True))
    left = tuple(a - b for a, b in zip(amounts_of(posted), taken, strict=True))
    assert left == amounts_of(split(paid - refunded, plan, credit))


@given(amounts, plans(), credits_)
def test_nobody_earns_from_their_own_order_and_a_missing_role_stays_with_hq(
    amount: int, plan: SplitPlan, credit: Credit
) -> None:
    shares = split(amount, plan, credit)
    if credit.promoter_id is None or credit.promoter_id == credit.buyer_guide_id:
        assert shares.promoter_fen == 0
    nobody = (None, credit.promoter_id, credit.buyer_guide_id)
    if not plan.level_two or credit.promoter_id is None or credit.upline_id in nobody:
        assert shares.upline_fen == 0
    if credit.store_id is None:
        assert shares.store_fen == 0


def test_a_readable_example() -> None:
    plan = SplitPlan(promoter_bps=800, upline_bps=200, store_bps=1500, level_two=True, cap_bps=3000)
    assert split(19_900, plan, FULL) == Shares(1592, 398, 2985, 14_925)
    alone = Credit(promoter_id="g1", buyer_guide_id="g1")
    assert split(19_900, plan, alone) == Shares(0, 0, 0, 19_900)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (SplitPlan(-1, 0, 0, True, 3000), "promoter_bps is -1"),
        (SplitPlan(0, 10_001, 0, False, 3000), "upline_bps is 10001"),
        (SplitPlan(0, 0, 0, True, 10_001), "cap_bps is 10001"),
        (SplitPlan(2000, 500, 501, True, 3000), "add up to 3001"),
    ],
)
def test_an_infeasible_plan_is_refused_with_its_reason(plan: SplitPlan, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        validate_plan(plan)
    assert caught.value.code == "split_infeasible"
    with pytest.raises(BadInput):
        split(100, plan, FULL)


def test_a_level_that_is_switched_off_needs_no_room_below_the_cap() -> None:
    validate_plan(SplitPlan(2000, 500, 1000, level_two=False, cap_bps=3000))


@pytest.mark.parametrize("refunded", [-1, 101])
def test_more_than_was_paid_cannot_come_back(refunded: int) -> None:
    plan = SplitPlan(1000, 0, 0, False, 3000)
    with pytest.raises(ValueError, match="refunds of"):
        reversal(split(100, plan, FULL), 100, refunded, plan, FULL)


def test_a_split_of_another_order_is_noticed() -> None:
    plan = SplitPlan(1000, 0, 0, False, 3000)
    with pytest.raises(ValueError, match="less than what remains"):
        reversal(split(50, plan, FULL), 100, 1, plan, FULL)


@pytest.mark.parametrize("amount", [-1, FEN_MAX + 1])
def test_amounts_have_limits(amount: int) -> None:
    with pytest.raises(ValueError, match="an amount is 0 to"):
        split(amount, SplitPlan(0, 0, 0, False, 0), FULL)


@given(plans(), credits_)
def test_the_snapshot_on_the_order_reads_back_as_json(plan: SplitPlan, credit: Credit) -> None:
    snapshot = to_snapshot(plan, credit, {"rule": "v1", "touch": "room:r1"})
    assert from_snapshot(msgspec.json.decode(msgspec.json.encode(snapshot))) == (plan, credit)


@pytest.mark.parametrize(
    "broken", [{}, {"plan": {}}, {"plan": {"promoter_bps": 1.5}, "credit": {}, "why": {}}]
)
def test_a_snapshot_that_is_none_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        from_snapshot(broken)
