"""What commands say before they start, and that it arrives whole on any terminal."""

import io
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from cli.demo.command import demo
from cli.demo.plan import Tally
from cli.demo.summary import Summary, show
from cli.main import main
from cli.words import plain


@pytest.mark.parametrize("option", ["--json", "--svg"])
def test_a_file_that_cannot_be_written_is_noticed_before_the_evening(
    option: str, tmp_path: Path
) -> None:
    missing = tmp_path / "no such folder" / "summary"
    done = CliRunner().invoke(demo, ["--once", option, str(missing)])
    assert done.exit_code == 2
    assert "There is no folder" in done.output
    assert CliRunner().invoke(demo, ["--once", option, str(tmp_path)]).exit_code == 2


def test_brackets_in_a_message_are_not_taken_for_colours() -> None:
    out = io.StringIO()
    console = Console(file=out, width=60)
    text = "Connect call failed [Errno 111] [/red] " + "x" * 80
    plain(console, text)
    assert out.getvalue() == f"{text}\n"


def test_a_broken_law_is_shown_whatever_it_quotes() -> None:
    """The one moment in which the summary must not fail over its own colours."""
    law = {"ok": False, "checked": 3, "sentence": "holds", "problems": ["offer [/] has [3, 4]"]}
    customers = {**msgspec.to_builtins(Tally()), "errors": ["GET [/v1/offers] said [/red]"]}
    out = io.StringIO()
    laws = {"I1": law}
    summary = Summary(ok=False, seed=1, customers=customers, balances_fen={}, laws=laws, seconds=1)
    show(Console(file=out, width=100), summary)
    assert "offer [/] has [3, 4]" in out.getvalue()
    assert "GET [/v1/offers] said [/red]" in out.getvalue()


@pytest.mark.parametrize("charset", ["ascii", "gbk", "utf-8"])
def test_a_terminal_that_cannot_show_it_is_no_reason_to_fail(charset: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("团,¥\n1,2\n")
    environ = {
        "KAITUAN_DATABASE_URL": "postgresql://app@127.0.0.1:1/kaituan",
        "KAITUAN_PHONE_SECRET": "a secret of the tests",
    }
    done = CliRunner(charset=charset).invoke(main, ["import", str(file)], env=environ)
    assert isinstance(done.exception, SystemExit), done.exception
    assert "prices.csv: cannot tell what it holds" in done.output
