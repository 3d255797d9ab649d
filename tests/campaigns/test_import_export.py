"""`kaituan import` and `kaituan export`: what comes out goes in again and changes nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from campaigns.people.exports import EXPORTS, cell_of
from campaigns.people.imports.cells import bare
from cli.imports import export_command, import_command
from cli.sample import FILES
from tests.conftest import DbUrls

ENV = {"KAITUAN_PHONE_SECRET": "a secret of the tests"}


def run(urls: DbUrls, command: str, *args: str) -> Result:
    chosen = import_command if command == "import" else export_command
    return CliRunner(env={**ENV, "KAITUAN_DATABASE_URL": urls.app}).invoke(chosen, args)


def test_the_sample_out_and_in_again(db_urls: DbUrls, tmp_path: Path) -> None:
    first = run(db_urls, "import", *map(str, FILES))
    assert first.exit_code == 0, first.output
    assert "members    2,000 created       0 changed       0 unchanged" in first.output
    paths = []
    for kind in EXPORTS:
        out = run(db_urls, "export", kind)
        assert out.exit_code == 0, out.output
        path = tmp_path / f"{kind}.out"
        path.write_bytes(out.stdout_bytes)
        paths.append(str(path))
    members = (tmp_path / "members.out").read_text("utf-8-sig")
    assert "199****0001" in members
    assert "19900000001" not in members
    again = run(db_urls, "import", *paths)
    assert again.exit_code == 0, again.output
    assert "created       0 changed   2,000 unchanged" in again.output


def test_errors_are_printed_with_their_places_and_nothing_is_written(
    db_urls: DbUrls, tmp_path: Path
) -> None:
    bad = tmp_path / "stock.csv"
    bad.write_text("sku_id,store_id,units\n" + "P1,S1,many\n" * 60)
    result = run(db_urls, "import", str(bad), *map(str, FILES))
    assert result.exit_code == 1
    assert 'stock.csv line 2, column units: "many" is not a whole number' in result.output
    assert "more\n" in result.output
    assert "Nothing was imported" in result.output
    assert run(db_urls, "export", "stores").output.count("\n") == 1


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    env = {**ENV, "KAITUAN_DATABASE_URL": "", "KAITUAN_DATA_DIR": str(tmp_path)}
    result = CliRunner(env=env).invoke(import_command, [str(FILES[0])])
    assert result.exit_code == 1
    assert "kaituan up" in result.output


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@x", "'=x", "\tx", "plain", "a=b"])
def test_formulas_are_made_harmless_and_come_back(value: str) -> None:
    cell = cell_of("name", value)
    assert cell[0] not in "=+-@\t"
    assert bare(cell) == value.strip()
    assert cell_of("shelf_price_fen", 129_905) == "1299.05"
    assert cell_of("latitude", -33.5) == "-33.5"
