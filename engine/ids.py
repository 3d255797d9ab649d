"""Ids: how they are made, and what a claim id says about itself.

`new_id("ofr")` gives a time-ordered id such as `ofr_0k3v9q2m1c7x4n8p5r6t`: 48 bits of
milliseconds and 64 random bits in base 32, so ids sort by birth and never collide.
A claim id is made by the claim script: `clm-s3-e1-42-9f3a1c2b` names the shard, the epoch
it was born in, its event's seq and a random part. The epoch only names it: claims of older
epochs live on. A team's id is made likewise, `tem-s3-e1-41-9f3a1c2b`; a crowd's is its offer's.
"""

import os
import re
import secrets
import time
from typing import NamedTuple

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TEAM = re.compile(r"^tem-s(\d{1,3})-e\d{1,9}-\d{1,15}-[0-9a-f]{16}\Z")
_CROWD = "tem-c-"
_CLAIM = re.compile(r"^clm-s(\d{1,3})-e(\d{1,9})-(\d{1,15})-([0-9a-f]{16})\Z")


def now_ms() -> int:
    """This process's wall clock in ms; deadlines of claims use the hot store's clock instead."""
    return time.time_ns() // 1_000_000


def _base32(value: int, digits: int) -> str:
    out = []
    for _ in range(digits):
        out.append(_ALPHABET[value & 31])
        value >>= 5
    return "".join(reversed(out))


def new_id(prefix: str) -> str:
    """A fresh id `<prefix>_<10 base-32 digits of time><13 random digits>`."""
    return f"{prefix}_{_base32(now_ms(), 10)}{_base32(secrets.randbits(64), 13)}"


def new_nonce() -> str:
    """16 hex digits for a claim id: scripts cannot draw randomness of their own."""
    return os.urandom(8).hex()


class ClaimId(NamedTuple):
    """What a claim id says: the shard, the epoch it was born in and its event's seq there."""

    shard: int
    epoch: int
    seq: int


def parse_claim_id(text: str) -> ClaimId | None:
    """The parts of a claim id, or None when `text` cannot be one."""
    match = _CLAIM.match(text)
    if match is None:
        return None
    return ClaimId(int(match[1]), int(match[2]), int(match[3]))


def order_id_of(claim_id: str) -> str:
    """The order of a claim: one to one, so that settling twice writes the same row."""
    return "ord-" + claim_id.removeprefix("clm-")


def opened_team_id(claim_id: str) -> str:
    """The team that a claim opened: `seat` emits team.opened right before claim.held."""
    parsed = parse_claim_id(claim_id)
    assert parsed is not None, claim_id
    nonce = claim_id.rpartition("-")[2]
    return f"tem-s{parsed.shard}-e{parsed.epoch}-{parsed.seq - 1}-{nonce}"


def shard_of_team(team_id: str) -> int | None:
    """The shard that a team's id names; None for a crowd's, or what is no such id."""
    match = _TEAM.match(team_id)
    return int(match[1]) if match else None


def crowd_id_of(offer_id: str) -> str:
    """The one team of a crowd's offer."""
    return _CROWD + offer_id


def offer_of_crowd(team_id: str) -> str | None:
    """The offer whose crowd this is; None for other ids."""
    return team_id.removeprefix(_CROWD) if team_id.startswith(_CROWD) else None
