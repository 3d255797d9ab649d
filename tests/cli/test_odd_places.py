"""Folders as people have them: with spaces and quotes in their names, or in our way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.embedded.postgres import start_postgres
from cli.embedded.valkey import start_valkey
from cli.place import (
    SERVING_ROOT,
    Place,
    remove_serving_place,
    serving_folder_as_root,
    serving_place,
)
from cli.supervisor_state import RunFile
from engine.errors import RefusedStart

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about root")


def test_the_servers_start_below_a_folder_with_an_odd_name(own_place: Place) -> None:
    folder = own_place.folder / "我的 店's; new"
    folder.mkdir(mode=0o755)
    (folder / "logs").mkdir()
    place = Place(folder, RunFile(folder))
    valkey = start_valkey(place)
    assert (folder / "valkey" / "appendonlydir").is_dir()
    valkey.stop()
    start_postgres(place).stop()


def test_a_file_in_our_way_is_left_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / ".kaituan"
    data_dir.write_text("somebody's")
    for act in (serving_place, remove_serving_place):
        with pytest.raises(RefusedStart, match="is a file"):
            act(data_dir)
    assert data_dir.read_text() == "somebody's"


@only_root
def test_somebodys_own_link_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "bigger disk"
    elsewhere.mkdir()
    data_dir = tmp_path / ".kaituan"
    data_dir.symlink_to(elsewhere)
    with pytest.raises(RefusedStart, match="is a link to somewhere else"):
        serving_place(data_dir)
    assert data_dir.readlink() == elsewhere


@only_root
def test_a_copied_checkout_gets_a_place_of_its_own(tmp_path: Path) -> None:
    data_dir = tmp_path / ".kaituan"
    data_dir.symlink_to(SERVING_ROOT / "of-the-checkout-it-was-copied-from")
    place = serving_place(data_dir)
    assert data_dir.readlink() == place.folder
    assert place.folder.name.startswith(f"{tmp_path.name}-")
    remove_serving_place(data_dir)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedStart, match="Kaituan cannot keep its data in"):
        serving_place(tmp_path / "file" / ".kaituan")
    assert not serving_folder_as_root(tmp_path / "file" / ".kaituan").exists()


@only_root
def test_a_user_without_a_name_is_told_before_initdb_is() -> None:
    program = (
        "import os; from cli.place import server_user; from engine.errors import RefusedStart\n"
        "os.setgid(54321); os.setuid(54321)\n"
        "try: server_user()\n"
        "except RefusedStart as error: print(error.code, error.title)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("no_user_name ")
    assert "uid 54321" in done.stdout
