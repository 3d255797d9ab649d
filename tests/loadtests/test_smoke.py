"""Ten seconds of `kaituan load`, as a user would run it; afterwards nothing of it is left."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.place import temporary_root


@pytest.fixture
def own_tmp() -> Iterator[Path]:
    """A TMPDIR of this test's own that every user may walk through (as root: `nobody`)."""
    folder = Path(tempfile.mkdtemp(prefix="load-smoke-", dir=temporary_root()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_ten_seconds_of_load_pass_and_leave_nothing(own_tmp: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = _load(own_tmp, report, "--users", "30")
    assert done.returncode == 0, done.stdout
    assert "every law holds" in done.stdout
    assert "the load generator itself used" in done.stdout
    assert report.read_text().lstrip().lower().startswith("<!doctype html")
    assert report.with_name("report_stats.csv").read_text().count("claim: ") >= 2
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"


@pytest.mark.slow
def test_ten_seconds_of_a_full_room_pass(own_tmp: Path, tmp_path: Path) -> None:
    """The same sale with a room: viewers check every offset, a few lose their network."""
    report = tmp_path / "report.html"
    room = ("--scenario", "room_crowd", "--viewers", "80", "--cuts", "2")
    done = _load(own_tmp, report, "--users", "15", *room)
    assert done.returncode == 0, done.stdout
    assert "80 viewers heard" in done.stdout
    held = [line.split()[:2] for line in done.stdout.splitlines() if re.match(r"R[1-4] ", line)]
    assert held == [[f"R{number}", "holds"] for number in (1, 2, 3, 4)]
    assert "last viewer" in report.read_text()
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "answer"), [("team_rush", "team_full"), ("crowd_threshold", "price_changed")]
)
def test_a_short_load_of_group_buys_passes(
    own_tmp: Path, tmp_path: Path, scenario: str, answer: str
) -> None:
    """Few seats for many; a crowd whose price steps down under those who claim."""
    # Longer than the others, so that some have paid and others still come on a busy machine, too.
    asked = ("--users", "40", "--seconds", "16", "--scenario", scenario)
    done = _load(own_tmp, tmp_path / "report.html", *asked)
    assert done.returncode == 0, done.stdout
    assert answer in done.stdout
    held = [line.split()[:2] for line in done.stdout.splitlines() if re.match(r"T[1-8] ", line)]
    assert held == [[f"T{number}", "holds"] for number in range(1, 9)]
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"


def _load(own_tmp: Path, report: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "cli.main", "load", "--seconds", "10", "--seed", "7"),
            *("--report", str(report), *options),
        ],
        env={**os.environ, "TMPDIR": str(own_tmp), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
