"""A prepared command is byte for byte what the library would have packed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.prepared import Prepared, pack
from engine.scripts import Script

TEXT = """#!lua
-- @key one hash
-- @key two prefix
-- @arg three str
-- @arg four int
-- @arg five str
return { one }
"""
SCRIPT = Script("five", TEXT, {})
anything = st.text(max_size=40) | st.text("ab%{}\r\n\0", max_size=700)


@given(anything, anything, anything, st.integers(), anything)
def test_same_bytes_as_the_library(one: str, two: str, three: str, four: int, five: str) -> None:
    whole = SCRIPT.command(one=one, two=two, three=three, four=four, five=five)
    prepared = Prepared(SCRIPT, {"one": one, "three": three, "four": four}, ("two", "five"))
    assert prepared.pack(two, five) == pack(whole)
    assert prepared.pack(two, five) == pack(whole)  # nothing of the first call is left in it
    ends = Prepared(SCRIPT, {"two": two, "three": three, "four": four}, ("one", "five"))
    assert ends.pack(one, five) == pack(whole)
    assert Prepared(SCRIPT, {}, ("one", "two", "three", "four", "five")).pack(
        one, two, three, str(four), five
    ) == pack(whole)


def test_names_must_be_the_scripts_own_in_its_order() -> None:
    fixed: dict[str, str | int] = {"one": "a", "two": "b", "three": "c", "four": 4}
    with pytest.raises(TypeError):
        Prepared(SCRIPT, fixed, ())
    with pytest.raises(TypeError):
        Prepared(SCRIPT, fixed, ("five", "six"))
    with pytest.raises(TypeError):
        Prepared(SCRIPT, {"two": "b", "three": "c", "four": 4}, ("five", "one"))
    with pytest.raises(ValueError):  # noqa: PT011
        Prepared(SCRIPT, fixed, ("five",)).pack("x", "y")
