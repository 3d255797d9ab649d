"""Key strings of the hot store: the only place where they are spelled.

Everything of a shard carries its hash tag `{s3}`, so each command is one script on one slot.
The stream's key contains the epoch. `claims`, `offers` and the like are prefixes: scripts that
make or walk ids append them.
"""


def tag(shard: int) -> str:
    """The hash tag that all keys of a shard begin with."""
    return f"{{s{shard}}}"


def meta(shard: int) -> str:
    """Hash: epoch, run_id, sealed, seq, settled_seq, waits_since_ms (of the oldest event behind
    settled_seq, while there is one). Missing means: reopening."""
    return f"{{s{shard}}}:meta"


def events(shard: int, epoch: int) -> str:
    """Stream of one epoch; the entry id is `<seq>-0`."""
    return f"{{s{shard}}}:events:{epoch}"


def token(shard: int) -> str:
    """String: the epoch that is being rebuilt; older rebuilders are refused."""
    return f"{{s{shard}}}:token"


def offers(shard: int) -> str:
    """Prefix of the offers' hashes (config with its prices, total, available, held, sold)."""
    return f"{{s{shard}}}:offer:"


def holds(shard: int) -> str:
    """Prefix of the offers' hold records: hash claim_id → units, held and paying."""
    return f"{{s{shard}}}:holds:"


def limits(shard: int) -> str:
    """Prefix of the counters per offer or campaign: hash buyer_id → units."""
    return f"{{s{shard}}}:limits:"


def deadlines(shard: int) -> str:
    """Zset claim_id by expires_at_ms: claims in state held, and no others."""
    return f"{{s{shard}}}:deadlines"


def claims(shard: int) -> str:
    """Prefix of the claims' hashes."""
    return f"{{s{shard}}}:claim:"


def groups(shard: int) -> str:
    """Prefix of all about teams: `<team_id>` hash, `<team_id>:seats` hash buyer_id → claim_id,
    `deadlines` zset team_id by when to look next, `joinable:<offer_id>` zset team_id by deadline,
    `openers:<offer_id>` hash buyer_id → their undecided team, and `newcomers:<campaign_id>` hash
    buyer_id → the claim that used the right of a new customer."""
    return f"{{s{shard}}}:team:"


def waits(shard: int) -> str:
    """Prefix of the waiting lists: `<offer_id>` zset buyer_id by place, `<offer_id>:entries` hash
    buyer_id → what they asked for. How many wait is in the offer's hash."""
    return f"{{s{shard}}}:wait:"


def idem(shard: int, buyer_id: str, offer_id: str, key: str) -> str:
    """String: the stored answer of a successful claim, with its body's hash."""
    return f"{{s{shard}}}:idem:{buyer_id}:{offer_id}:{key}"


def answers(shard: int) -> str:
    """Prefix of all stored answers; the rest is `<buyer_id>:<offer_id>:<key>`."""
    return f"{{s{shard}}}:idem:"


def did(shard: int, row_id: str) -> str:
    """String: the command with this row id has emitted its event."""
    return f"{{s{shard}}}:did:{row_id}"


def every(shard: int) -> str:
    """Pattern of all keys of a shard."""
    return f"{{s{shard}}}:*"


def code(phone_hash: str) -> str:
    """Hash: a sign-in code with its tries."""
    return f"code:{phone_hash}"


def code_sends(phone_hash: str) -> str:
    """Counter: codes sent to a phone within the hour."""
    return f"code-sends:{phone_hash}"


def pick_up_tries(store_id: str) -> str:
    """Counter: pick-up codes tried in a store within the minute."""
    return f"pick-up-tries:{store_id}"


def broadcast(shard: int) -> str:
    """Hash epoch, seq: how far the shard's events are in the topics' logs."""
    return f"{{s{shard}}}:broadcast"


def log(topic: str) -> str:
    """Stream of a topic; the entry id is `<offset>-0`, fields origin, part, event."""
    return f"{{{topic}}}:log"


def log_meta(topic: str) -> str:
    """Hash: epoch, offset, archived, and `mark:<shard>` = `<epoch>:<seq>` of the last batch."""
    return f"{{{topic}}}:meta"


def log_parts(topic: str) -> str:
    """Hash: part → JSON of the last event that replaced it."""
    return f"{{{topic}}}:parts"


def log_comments(topic: str) -> str:
    """List: JSON of the last comments, newest first."""
    return f"{{{topic}}}:comments"


def log_did(topic: str, cause: str) -> str:
    """String: the command or comment with this id is in the log, and at which offset."""
    return f"{{{topic}}}:did:{cause}"


def comment_rate(topic: str, member_id: str) -> str:
    """String: when this member's next comment is due (GCRA)."""
    return f"{{{topic}}}:rate:{member_id}"


def likes(topic: str) -> str:
    """Counter of a room's likes."""
    return f"{{{topic}}}:likes"


def presence(topic: str) -> str:
    """Hash: gateway → `<viewers>:<at_ms>`."""
    return f"{{{topic}}}:presence"


def hints() -> str:
    """Stream: names of topics that have something new; a doorbell, safe to lose."""
    return "topics"
