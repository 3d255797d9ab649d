"""The shape of a load run: bounded in users and time, everybody there before the sale opens."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.plan import ENDS, PHASES, LoadPlan, percentile


def _plan(users: int = 100, seconds: int = 60) -> LoadPlan:
    return LoadPlan(
        base_url="http://127.0.0.1:1",
        hero_offer="ofr_1",
        side_offer="ofr_2",
        begins_at_ms=1_000_000,
        seconds=seconds,
        users_max=users,
        customers=(),
        history="h",
        result="r",
        seed=1,
    )


@given(st.integers(1, 2_000), st.integers(5, 900), st.floats(-1, 2))
def test_users_are_bounded(users: int, seconds: int, share: float) -> None:
    plan = _plan(users, seconds)
    wanted = plan.users(plan.begins_at_ms + seconds * 1_000 * share)
    if share >= 1:
        assert wanted is None
    elif wanted is not None:
        assert 1 <= wanted[0] <= users
        assert wanted[1] > 0


def test_all_gather_before_the_opening_and_few_stay() -> None:
    plan = _plan(users=100, seconds=60)
    early = plan.users(plan.begins_at_ms)
    before_the_sale = plan.users(plan.sale_starts_at_ms - 1)
    late = plan.users(plan.ends_at_ms - 1)
    assert early is not None
    assert before_the_sale is not None
    assert late is not None
    assert early[0] == 30
    assert before_the_sale[0] == 100
    assert before_the_sale[1] * 6 >= 100  # in the time that is left
    assert late[0] == 25
    assert plan.users(plan.ends_at_ms) is None


def test_phases_follow_each_other() -> None:
    plan = _plan()
    seen = [plan.phase(plan.begins_at_ms + at) for at in range(0, 60_001, 100)]
    assert [phase for phase in PHASES if phase in seen] == list(PHASES)
    assert seen == sorted(seen, key=PHASES.index)
    assert plan.phase(plan.sale_starts_at_ms) == "spike"
    assert plan.phase(plan.sale_ends_at_ms) == "tail"
    assert list(ENDS) == list(PHASES)


def test_percentile() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0
