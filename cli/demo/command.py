"""`kaituan demo`: start everything, play an evening, then keep the doors open (or end, --once)."""

import asyncio
import io
import re
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from cli.demo.audience import Seen
from cli.demo.doors import open_doors, tell_doors
from cli.demo.evening import EveningFailed, play
from cli.demo.headquarters import Headquarters
from cli.demo.plan import Tally
from cli.demo.screen import Screen
from cli.demo.show import Cast, Show
from cli.demo.staff import Refused
from cli.demo.summary import Summary, show, summarise
from cli.embedded.secret import secret
from cli.place import Place, serving_place, temporary_place
from cli.services import start_all
from cli.shop import HQ_LOGIN, Keys, Shop, keep_doors, open_shop, sample_phone
from cli.supervisor import AlreadyRunning, Supervisor
from cli.tokens import sample_tokens
from cli.words import FILE_TO_WRITE, no_way, plain
from engine.errors import KaituanError
from engine.settings import Settings, load, to_environ
from loadtests.lean import Lost

# `--once` leaves nothing anywhere, so it never plays on servers that somebody named.
OWN = dict.fromkeys(
    (
        *("redis_url", "queue_url", "database_url", "database_owner_url"),
        *("provider_url", "public_url", "gateway_url", "origins"),
    ),
    "",
)
GUESTS_SHARE, GUESTS_MIN = 0.6, 60
EVENINGS = (("周五夜场", "refund"), ("周六返场", "retake"))


class Party(NamedTuple):
    """How many play, and by which habits."""

    customers: int
    viewers: int
    seed: int

    @property
    def guests(self) -> int:
        """Those who buy in teams, beside the customers of the flash sale."""
        return max(GUESTS_MIN, round(self.customers * GUESTS_SHARE))


@click.command("demo")
@click.option("--once", is_flag=True, help="End by itself: summary, audit, exit 0 only if lawful.")
@click.option("--json", "json_file", type=FILE_TO_WRITE, help="Write the summary for machines.")
@click.option("--customers", type=click.IntRange(30, 1_000), default=400, show_default=True)
@click.option("--viewers", type=click.IntRange(10, 1_800), default=300, show_default=True)
@click.option("--seed", type=int, default=None, help="The same seed plays the same habits.")
@click.option("--svg", "svg_file", type=FILE_TO_WRITE, help="Draw the evening as a picture.")
def demo(
    once: bool,
    json_file: Path | None,
    customers: int,
    viewers: int,
    seed: int | None,
    svg_file: Path | None,
) -> None:
    """Start everything on the embedded stores, play an evening and open the doors."""
    console = Console()
    screen = Screen(console)
    chosen = secrets.randbelow(10_000) if seed is None else seed

    def keep(summary: Summary) -> None:
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2))
        if svg_file is not None:
            _draw(svg_file, screen, summary)

    try:
        party = Party(customers, viewers, chosen)
        summary = asyncio.run(_demo(screen, party, once=once, keep=keep))
    except AlreadyRunning as running:
        console.print(running.title)
        return
    except KeyboardInterrupt:
        sys.exit(130)
    except (EveningFailed, Refused, Lost) as error:
        console.print(f"[red]The evening could not be played to its end:[/] {escape(str(error))}")
        sys.exit(1)
    except KaituanError as error:
        plain(console, f"{error.title} {error.detail}".strip())
        sys.exit(3)
    except OSError as error:
        plain(console, no_way(error))
        sys.exit(3)
    if summary is None:
        console.print("Stopped before the evening had ended; nothing is left running.")
    elif not once:
        console.print("The doors are closed; nothing is left running.")
    if summary is None or not summary.ok:
        sys.exit(1)


def _draw(svg_file: Path, screen: Screen, summary: Summary) -> None:
    """The middle of the evening and its end as one picture."""
    canvas = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
    if screen.kept is not None:
        canvas.print(screen.kept)
    show(canvas, summary)
    picture = canvas.export_svg(title="make demo")
    # Fonts are the reader's own: a picture must not fetch anything.
    svg_file.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))


@asynccontextmanager
async def _place(settings: Settings, *, once: bool) -> AsyncIterator[Place]:
    if once:
        with temporary_place() as place:
            yield place
    else:
        yield serving_place(Path(settings.data_dir))


async def _demo(
    screen: Screen, party: Party, *, once: bool, keep: Callable[[Summary], None]
) -> Summary | None:
    """Play, and hand the summary to `keep` at once; None when interrupted before there was one."""
    settings = msgspec.structs.replace(load(), mode="development", **(OWN if once else {}))
    summary: Summary | None = None
    console = screen.console

    def say(text: str) -> None:
        plain(console, text)

    async with _place(settings, once=once) as place, Supervisor(place, say=say) as supervisor:
        say("Starting Kaituan on this machine …")
        running = await start_all(supervisor, settings, say)
        # Already now: a second start learns the address, and the audit may look on.
        place.run.announce(running.public_url, to_environ(running))
        # They last as long as the data.
        keys = Keys(secret(place, "hq_password")[:12], secret(place, "guide_password")[:12])
        shop = await open_shop(running, keys)
        summary = await supervisor.unless_stopped(
            _evenings(screen, running, place, party, shop, keys)
        )
        show(console, summary)
        keep(summary)
        if not once:
            keep_doors(place.folder, shop, keys)
            room_id = await supervisor.unless_stopped(open_doors(running, shop, keys))
            tell_doors(console, running, shop, keys, room_id)
            await supervisor.serve(running.public_url, to_environ(running))
    return summary


async def _evenings(
    screen: Screen, settings: Settings, place: Place, party: Party, shop: Shop, keys: Keys
) -> Summary:
    hq = Headquarters(settings.public_url)
    total = Tally()
    history = Path(tempfile.mkdtemp(prefix="evening-", dir=place.own_folder("history")))
    room: Seen | None = None
    try:
        await hq.sign_in(HQ_LOGIN, keys.hq)
        # Half of the viewers are the customers themselves, and are told of their own claims.
        tokens = await sample_tokens(settings, party.viewers // 2)
        cast = Cast(shop.hosts[0], keys.guide, party.viewers, [one.token for one in tokens])
        first_guest = 1 + party.customers + max(30, party.customers // 4)
        guests = [sample_phone(first_guest + one) for one in range(party.guests)]
        with screen:
            for number, (name, late) in enumerate(EVENINGS):
                first = number == 0
                count = party.customers if first else max(30, party.customers // 4)
                skip = 0 if first else party.customers
                tally = await play(
                    hq,
                    settings.public_url,
                    [sample_phone(one) for one in range(1 + skip, 1 + skip + count)],
                    history,
                    screen,
                    name=name,
                    late=late,
                    seed=party.seed + number,
                    guests=guests if first else (),
                    show=Show(settings, cast, history, screen, seed=party.seed) if first else None,
                )
                total.add(tally)
                room = room or screen.scene.room
            screen.tell("waiting until every payment, close and refund is settled, then the audit")
            bought_in_teams = screen.scene.group_offers
            return await summarise(settings, history, total, party.seed, hq, room, bought_in_teams)
    finally:
        await hq.close()
