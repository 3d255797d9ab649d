"""Settings: every knob with its default, and the only file that reads the environment.

`load()` takes `KAITUAN_<NAME>` for each field below. Limits end in `_max`, times in `_ms`,
so a value never needs a comment to be read. A wrong value refuses the start and names itself.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from engine.errors import RefusedStart


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process is told at its start; read once, in its composition root."""

    # Where the stores are. Empty: the embedded ones that `kaituan up` starts fill them in.
    redis_url: str = ""
    queue_url: str = ""
    database_url: str = ""  # the app's role: it may insert postings, never change them
    database_owner_url: str = ""  # the owner's role: migrations only

    # Development opens sandbox codes and sample tokens.
    mode: Literal["production", "development"] = "production"
    unsafe_store: bool = False  # accept a hot store that can lose or evict data (development)
    data_dir: str = ".kaituan"

    # Secrets. `up` and the demo make fresh ones; production brings its own.
    token_secret: str = ""
    phone_secret: str = ""
    sandbox_secret: str = ""
    metrics_token: str = ""  # when set, /metrics asks for it as a bearer token

    # The payment provider, and where it can reach us.
    provider_url: str = ""
    public_url: str = ""
    provider_timeout_ms: int = 5_000

    # API
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8080  # 0: any free one
    api_processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    body_bytes_max: int = 65_536
    pages_dir: str = ""  # the built pages; empty: those of this checkout
    claims_in_flight_max: int = 4_096
    token_ttl_ms: int = 12 * 3_600_000
    catalog_refresh_ms: int = 500
    catalog_offers_max: int = 50_000  # kept in a process's memory
    catalog_misses_max: int = 512  # unknown offer ids waiting for one look-up
    tokens_seen_max: int = 20_000  # verified ones that a process knows again, half a KiB each
    sold_out_offers_max: int = 1_000  # that a process remembers as sold out
    sold_out_holders_max: int = 100_000  # ids of those who hold, of all these offers together
    connections_max: int = 10_000  # open HTTP connections per process
    backlog_max: int = 2_048
    keep_alive_ms: int = 15_000
    drain_ms: int = 10_000  # from SIGTERM until what is still under way is cut off
    start_wait_ms: int = 30_000  # for stores that are still starting
    csv_rows_max: int = 200_000
    csv_batch_max: int = 1_000

    # Hot state
    shards: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 4
    hold_ms: int = 90_000
    pay_ms: int = 300_000
    settle_lag_max_ms: int = 10_000
    sweep_batch_max: int = 200
    sweep_every_ms: int = 200
    idem_keep_ms: int = 7 * 86_400_000

    # Waiting lists
    wait_max: int = 10_000  # who may wait for an offer
    wait_scan_max: int = 50  # entries looked at by a script that frees units
    wait_look_max: int = 200  # lists looked at in a turn, and calls for one of them
    wait_look_every_ms: int = 1_000

    # Rooms: logs and broadcaster
    room_log_max: int = 10_000  # entries of a room's log kept in the hot store, archived before
    me_log_max: int = 200
    me_keep_ms: int = 86_400_000
    team_keep_ms: int = 4 * 86_400_000  # of a team's log after its last event
    room_teams_max: int = 5  # openings and the like of an offer that rooms hear of, in a batch
    room_keep_ms: int = 7 * 86_400_000  # an ended room's log in the hot store
    room_comments_max: int = 50  # in a snapshot
    room_shelf_max: int = 100
    hints_max: int = 100_000
    comment_chars_max: int = 200
    comment_every_ms: int = 2_000  # per member, with a burst of `comment_burst_max`
    comment_burst_max: int = 3
    broadcast_batch_max: int = 500
    broadcast_idle_ms: int = 50
    broadcast_lag_max: int = 200_000  # events that wait for a broadcaster
    law_check_every_ms: int = 15_000

    # Gateway
    gateway_host: str = "127.0.0.1"
    gateway_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8081  # 0: any free one
    gateway_url: str = ""  # what browsers are told; empty: made of host and port
    origins: str = ""  # comma list of exact origins; empty: that of public_url
    room_token_ttl_ms: int = 300_000
    viewers_max: int = 25_000  # per gateway process
    viewer_topics_max: int = 8
    viewer_buffer_max: int = 262_144  # bytes not yet taken by a viewer's connection
    viewer_frame_bytes_max: int = 4_096  # what a viewer may send
    viewer_frames_per_s_max: int = 20
    viewer_likes_per_s_max: int = 100
    viewer_socket_bytes_max: int = 131_072  # what the system keeps for a viewer besides
    viewer_lost_ms: int = 20_000  # nothing acknowledged for so long: the network is gone
    join_within_ms: int = 5_000
    slow_after_ms: int = 3_000
    close_within_ms: int = 1_000  # a closing handshake that takes longer is cut
    tick_ms: int = 50
    tick_cap_ms: int = 500
    tick_events_max: int = 500  # in one frame; the rest waits for the next tick
    live_every_ms: int = 1_000
    ring_max: int = 2_000  # events of a topic kept in the gateway for those who come back
    me_looks_max: int = 500  # members' logs looked at each second without a hint
    topic_keep_ms: int = 10_000  # in memory without viewers
    room_gone_after_ms: int = 60_000  # a log that is missing for so long is given up
    gateway_drain_ms: int = 5_000
    come_back_within_ms: int = 3_000

    # Settler
    settle_batch_max: int = 500
    settle_idle_ms: int = 100
    trim_margin_max: int = 10_000
    rebuild_batch_max: int = 500

    # Outside calls
    lease_ms: int = 30_000
    outside_batch_max: int = 50
    # Of all workers together; two thirds of what the channel takes (150 calls, 6 error answers).
    refunds_per_s_max: int = 100
    refund_errors_per_s_max: int = 4
    outside_tries_alarm: int = 8
    retry_base_ms: int = 500
    retry_cap_ms: int = 60_000
    repeat_every_ms: int = 500
    repeat_after_ms: int = 2_000

    # Teams
    teams_every_ms: int = 250
    team_again_ms: int = 500  # until a team past its deadline is looked at again
    team_batch_max: int = 200  # teams of a shard looked at in a turn
    team_unpaid_max: int = 500  # unpaid seats that leave at the end of a closing, in one call
    rescue_batch_max: Annotated[int, msgspec.Meta(ge=2)] = 50  # moves of an offer in a turn
    book_batch_max: int = 200  # members of a decided crowd booked in one transaction
    book_every_ms: int = 500
    rescue_targets_max: int = 100  # forming teams looked at for free seats

    # What the payment channel's contract allows; a campaign beyond it is not published
    channel_split_bps_max: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 3_000  # of an order
    channel_receivers_max: Annotated[int, msgspec.Meta(ge=0)] = 50  # of an order's split
    channel_freeze_ms: int = 30 * 86_400_000  # from a payment until its money is let go
    refund_window_ms: int = 7 * 86_400_000  # from the goods' being there

    # After forming
    stocking_keep_ms: int = 60 * 86_400_000  # an ended offer stays on the stocking list
    ready_batch_max: int = 500  # orders made ready in one transaction
    pick_up_code_ms: int = 7 * 86_400_000  # a code is good for this long after it was shown
    pick_up_tries_max: int = 20  # wrong codes of a store within the window
    pick_up_window_ms: int = 60_000

    # Database
    pool_max: int = 10

    # Import of CSV files, all files of one run together
    import_rows_max: int = 200_000
    import_bytes_max: int = 33_554_432
    import_problems_max: int = 50
    import_batch_max: int = 1_000

    # Sign-in
    code_ttl_ms: int = 300_000
    code_tries_max: int = 5
    code_sends_max: int = 5  # per phone number and window
    code_window_ms: int = 3_600_000
    password_threads_max: int = 2  # 64 MiB and a core each
    password_waiting_max: int = 32


_PREFIX = "KAITUAN_"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (or from `environ`); RefusedStart names what is wrong."""
    source = os.environ if environ is None else environ
    given = {
        field.name: source[_PREFIX + field.name.upper()]
        for field in msgspec.structs.fields(Settings)
        if _PREFIX + field.name.upper() in source
    }
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        said = re.sub(r" - at `\$\.(\w+)`$", lambda at: f" in {_PREFIX}{at[1].upper()}", str(error))
        raise RefusedStart("bad_setting", f"A setting cannot be used: {said}.") from error


def to_environ(settings: Settings) -> dict[str, str]:
    """The environment that gives `settings` to a child process (all fields, also defaults)."""
    return {
        _PREFIX + name.upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in msgspec.structs.asdict(settings).items()
    }


def inherited_environ() -> dict[str, str]:
    """The environment for child processes, without our own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)}
