"""Real servers by address: a wrong one is refused in one sentence, before anything is started."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.embedded.valkey import start_valkey
from cli.main import main
from cli.place import Place, remove_serving_place
from engine.errors import RefusedStart
from engine.settings import load

_NOWHERE = "postgresql://app:hush@127.0.0.1:1/kaituan"


def _say(tmp_path: Path, *command: str, **environ: str) -> tuple[int, str]:
    data_dir = tmp_path / ".kaituan"
    done = CliRunner().invoke(main, command, env={"KAITUAN_DATA_DIR": str(data_dir), **environ})
    remove_serving_place(data_dir)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("name", "address", "said"),
    [
        ("REDIS_URL", "redis://:hush@127.0.0.1:1/0", "cannot be reached"),
        ("REDIS_URL", "rediss://:hush@127.0.0.1:1/0", "is not one like redis://"),
        ("REDIS_URL", "localhost:6379", "is not one like redis://"),
        ("REDIS_URL", "redis://:hush@127.0.0.1:port/0", "is not one like redis://"),
        ("QUEUE_URL", "redis://:hush@127.0.0.1:1/1", "cannot be reached"),
        ("DATABASE_URL", _NOWHERE, "cannot be reached"),
        ("DATABASE_URL", f"{_NOWHERE}?sslmode=require", "cannot be reached"),
        ("DATABASE_URL", f"{_NOWHERE}?colour=blue", "cannot be reached"),
        ("DATABASE_URL", "mysql://app:hush@127.0.0.1:1/kaituan", "is not one like postgresql://"),
        ("DATABASE_URL", "postgresql://app:hush@127.0.0.1:port/k", "is not one like postgresql://"),
        ("DATABASE_URL", "kaituan", "is not one like postgresql://"),
    ],
)
def test_a_wrong_address_is_said(tmp_path: Path, name: str, address: str, said: str) -> None:
    code, text = _say(tmp_path, "up", **{f"KAITUAN_{name}": address})
    assert code == 3, text
    assert said in text
    assert len(text.strip().splitlines()) == 1, text
    assert "hush" not in text


def test_a_store_that_forgets_is_refused_before_anything_starts(
    own_place: Place, tmp_path: Path
) -> None:
    forgetful = start_valkey(own_place, extra=("--appendonly", "no"))
    code, text = _say(tmp_path, "up", KAITUAN_REDIS_URL=forgetful.url)
    forgetful.stop()
    assert code == 3
    assert "`appendonly no` where Kaituan needs `yes`" in text
    assert len(text.strip().splitlines()) == 1, text


@pytest.mark.parametrize("command", [("tokens",), ("export", "stores"), ("incidents", "list")])
def test_a_command_whose_database_is_down_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    code, text = _say(tmp_path, *command, KAITUAN_DATABASE_URL=_NOWHERE, KAITUAN_MODE="development")
    assert code == 1
    assert "The database does not answer" in text
    assert "hush" not in text


def test_migrate_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    assert "Set KAITUAN_DATABASE_OWNER_URL" in _say(tmp_path, "migrate")[1]
    code, text = _say(tmp_path, "migrate", KAITUAN_DATABASE_OWNER_URL=_NOWHERE)
    assert code == 1
    assert "cannot be migrated" in text


@pytest.mark.parametrize(
    ("name", "value"), [("API_PORT", "99999"), ("API_PORT", "http"), ("MODE", "dev")]
)
def test_a_wrong_setting_is_named_as_people_wrote_it(name: str, value: str) -> None:
    with pytest.raises(RefusedStart, match=rf"in KAITUAN_{name}\."):
        load({f"KAITUAN_{name}": value})
