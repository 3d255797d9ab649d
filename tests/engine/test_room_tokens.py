"""Room tokens: whoever holds one may read what it names, until it expires; nobody can make one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotSignedIn, RefusedStart
from engine.room_tokens import ROOM_TOKEN_BYTES_MAX, RoomTokens
from engine.tokens import TokenKeys

SECRET = "a secret of some length"
TOKENS = RoomTokens.from_setting(SECRET)
TOPICS = ("room:rm_1", "me:m1")


def signed(tokens: RoomTokens = TOKENS, expires_at_ms: int = 1_000) -> str:
    return tokens.sign(
        "m1", "customer", nickname="小熊", topics=TOPICS, expires_at_ms=expires_at_ms
    )


def test_a_token_says_who_may_read_what() -> None:
    given = TOKENS.verify(signed(), 999)
    assert (given.subject, given.nickname, given.role) == ("m1", "小熊", "customer")
    assert given.topics == TOPICS
    assert given.expires_at_ms == 1_000


def test_an_anonymous_viewer_has_a_token_too() -> None:
    token = TOKENS.sign("", "viewer", nickname="", topics=TOPICS[:1], expires_at_ms=9)
    assert TOKENS.verify(token, 0).subject == ""


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", "no_token"),
        ("nonsense", "bad_token"),
        ("a.b", "bad_token"),
        ("é.é", "bad_token"),
        ("x" * (ROOM_TOKEN_BYTES_MAX + 1), "bad_token"),
        (signed(RoomTokens.from_setting("another secret, as long")), "bad_token"),
        (signed(expires_at_ms=500), "token_expired"),
        (
            TokenKeys.from_setting(SECRET).sign("m1", "customer", expires_at_ms=10_000),
            "bad_token",
        ),
    ],
)
def test_others_are_refused(token: str, code: str) -> None:
    with pytest.raises(NotSignedIn) as caught:
        TOKENS.verify(token, 500)
    assert caught.value.code == code


def test_a_room_token_is_no_access_token() -> None:
    with pytest.raises(NotSignedIn):
        TokenKeys.from_setting(SECRET).verify(signed(), 0)


def test_keys_can_be_changed() -> None:
    old = RoomTokens.from_setting("k1:the first secret of ours")
    both = RoomTokens.from_setting("k2:the second secret of us, k1:the first secret of ours")
    assert both.verify(signed(old), 0).key_id == "k1"
    assert both.verify(signed(both), 0).key_id == "k2"
    with pytest.raises(NotSignedIn):
        old.verify(signed(both), 0)


def test_a_short_secret_refuses_the_start() -> None:
    with pytest.raises(RefusedStart):
        RoomTokens.from_setting("short")


def test_too_many_topics_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="too long"):
        TOKENS.sign("m", "hq", nickname="", topics=["room:" + "x" * 90] * 30, expires_at_ms=1)


@given(st.integers(0, len(signed()) - 1), st.characters(codec="ascii"))
def test_a_changed_token_is_refused(at: int, char: str) -> None:
    token = signed()
    changed = token[:at] + char + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises(NotSignedIn):
        TOKENS.verify(changed, 0)
