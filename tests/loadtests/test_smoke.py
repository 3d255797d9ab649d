"""Ten seconds of `kaituan load`, as a user would run it; afterwards nothing of it is left."""

import os
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
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli.main", "load", "--users", "30", "--seconds", "10"),
            *("--report", str(report), "--seed", "7"),
        ],
        env={**os.environ, "TMPDIR": str(own_tmp), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "every law holds" in done.stdout
    assert "the load generator itself used" in done.stdout
    assert report.read_text().lstrip().lower().startswith("<!doctype html")
    assert report.with_name("report_stats.csv").read_text().count("claim: ") >= 2
    assert list(own_tmp.iterdir()) == [], "its temporary place was left behind"
