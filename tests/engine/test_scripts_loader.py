"""The header of a script is its contract, and it is executed: nobody counts KEYS[n]."""

import re
from pathlib import Path

import pytest

from engine import scripts
from engine.errors import RefusedStart
from engine.scripts import Script, load_all
from tests.engine.hotshard import SCRIPTS, Bench

FOLDER = Path(scripts.__file__).parent / "lua"
LINES_MAX = 120

# What frees units or room, says how far others are, or opens a shard: on a full store as well.
FREES = {
    "epoch_open",
    "give_back",
    "offer_close",
    "pay_confirm",
    "rebuild_begin",
    "rebuild_write",
    "release",
    "room_archived",
    "room_moved",
    "seal",
    "settled",
    "sweep",
    "team_close",
    "team_decide",
    "team_move",
    "wait_leave",
}


def script(header: str, body: str = "return 1", includes: dict[str, str] | None = None) -> Script:
    return Script("one", f"#!lua\n{header}\n{body}\n", includes or {})


async def test_header_becomes_bindings(shard: Bench) -> None:
    made = script(
        "-- @key place hash where\n-- @arg word str\n-- @arg count int",
        "redis.call('HSET', place, word, count + 1)\nreturn { word, type(count) }",
    )
    await shard.wire.call("SCRIPT", "LOAD", made.source)
    reply = await shard.wire.call(*made.command(count=41, word="a b", place="{s0}:x"))
    assert reply == [b"a b", b"number"]
    assert await shard.wire.call("HGETALL", "{s0}:x") == [b"a b", b"42"]


async def test_includes_see_the_bindings_and_come_before_the_body(shard: Bench) -> None:
    made = script(
        "-- @arg word str\n-- @include shout",
        "return shout()",
        {"shout": "local function shout() return string.upper(word) end"},
    )
    assert await shard.wire.call("EVAL", made.source, 0, "ho") == b"HO"


async def test_an_include_may_stand_in_another_one(shard: Bench) -> None:
    includes = {
        "shout": "local function shout()\n  local word = word .. '!'\n  -- @include up\nend",
        "up": "return string.upper(word)",
    }
    made = script("-- @arg word str\n-- @include shout", "return shout()", includes)
    assert await shard.wire.call("EVAL", made.source, 0, "ho") == b"HO!"
    with pytest.raises(RefusedStart, match="not there"):
        script("-- @include shout", includes={"shout": "-- @include gone"})


async def test_error_names_a_line_near_the_files_own(shard: Bench) -> None:
    """Includes shift lines, bindings do not: they stand on one line."""
    made = script("-- @arg a str\n-- @arg b str", "local x = nil\nreturn x.y")
    with pytest.raises(Exception, match=r"user_script:6"):
        await shard.wire.call("EVAL", made.source, 0, "1", "2")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("-- @arg qty", "needs"),
        ("-- @arg qty integer", "needs"),
        ("-- @arg qty float", "needs"),
        ("-- @key meta", "needs"),
        ("-- @key meta map", "needs"),
        ("-- @key meta hash\n-- @key meta hash", "twice"),
        ("-- @key same hash\n-- @arg same str", "twice"),
        ("-- @arg a-b str", "no name"),
        ("-- @arg", "no name"),
        ("-- @kye meta hash", "says @kye"),
        ("  --@keys meta hash", "says @keys"),
        ("-- @include nowhere", "not there"),
        ("-- @include", "not there"),
    ],
)
def test_header_that_cannot_be_meant_refuses_the_start(header: str, why: str) -> None:
    with pytest.raises(RefusedStart, match=why) as refused:
        script(header)
    assert refused.value.code == "bad_script"
    assert "one.lua" in str(refused.value)


@pytest.mark.parametrize("text", ["", "return 1", "-- @arg a str\n#!lua\n", " #!lua\nreturn 1"])
def test_file_without_a_shebang_refuses_the_start(text: str) -> None:
    with pytest.raises(RefusedStart, match="#!lua"):
        Script("one", text, {})


def test_folder_is_loaded_by_file_names(tmp_path: Path) -> None:
    (tmp_path / "includes").mkdir()
    (tmp_path / "includes" / "help.lua").write_text("-- nothing")
    (tmp_path / "act.lua").write_text("#!lua\n-- @include help\nreturn 1\n")
    assert list(load_all(tmp_path)) == ["act"]
    (tmp_path / "worse.lua").write_text("#!lua\n-- @include gone\nreturn 1\n")
    with pytest.raises(RefusedStart, match=r"worse\.lua"):
        load_all(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"meta": "k", "word": "w"},
        {"meta": "k", "word": "w", "qty": 1, "more": 1},
        {"meta": "k", "wrod": "w", "qty": 1},
    ],
)
def test_command_refuses_missing_and_unknown_names(values: dict[str, str | int]) -> None:
    made = script("-- @key meta hash\n-- @arg word str\n-- @arg qty int")
    with pytest.raises(TypeError, match="takes"):
        made.command(**values)
    assert made.command(qty=1, word="w", meta="k") == ("EVALSHA", made.sha, 1, "k", "w", 1)


async def test_every_script_compiles_and_is_known_by_its_sha(shard: Bench) -> None:
    for name, made in SCRIPTS.items():
        loaded = await shard.wire.call("SCRIPT", "LOAD", made.source)
        assert loaded.decode() == made.sha, name


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.lua")), ids=lambda path: path.stem)
def test_script_is_short_and_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= LINES_MAX
    own = lines[1:] if lines[0].startswith("#!") else lines
    assert re.match(r"-- [A-Za-z]", own[0]), "the first line says what it is for"
    if path.parent == FOLDER:
        assert any(line.startswith("-- @returns ") for line in lines)


def test_what_frees_stock_may_run_on_a_full_store() -> None:
    allowed = {name for name, one in SCRIPTS.items() if "allow-oom" in one.source.split("\n")[0]}
    assert allowed == FREES


@pytest.mark.parametrize("name", SCRIPTS)
def test_only_declared_names_are_used(name: str) -> None:
    """Every declared key and argument is used: a header without reason misleads."""
    made = SCRIPTS[name]
    code = "\n".join(re.sub(r"--.*", "", line) for line in made.source.splitlines()[2:])
    unused = [one for one in made.keys + made.args if not re.search(rf"\b{one}\b", code)]
    assert unused == []
