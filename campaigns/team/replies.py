"""What seat.lua says beyond claim.lua, in sentences; nothing was held in any of these."""

from campaigns.claim.replies import Answer, refused
from engine.inventory import Reply

_NO_TEAM = refused(
    409, "no_team", "This offer has no teams.", "Nothing was held. Claim it as it is."
)
_UNKNOWN = refused(
    404, "unknown_team", "There is no such team.", "Nothing was held. Look at the open teams."
)
_FULL = refused(
    409,
    "team_full",
    "This team is full.",
    "Nothing was held. Join another open team, or open one. A seat that is held but not paid "
    "comes free again.",
)
_COMPLETE = refused(
    409,
    "team_full",
    "This team is full.",
    "Nothing was held. It is complete, so no seat of it comes free again: join another open team, "
    "or open one.",
    state="formed",
)
_NEWCOMERS = refused(
    409,
    "newcomers_only",
    "This team is for new customers.",
    "Nothing was held. You have bought here before: open a team and bring a friend who is new.",
)
_OVER = {
    "opening": "Its captain has not paid yet; try again in a moment.",
    "closing": "Its time is up.",
    "failed": "It did not fill up in time.",
}


def team_words(reply: Reply) -> Answer | None:
    """The answer to a reply that only seats have."""
    match reply.what, reply.details:
        case "no_team", _:
            return _NO_TEAM
        case "unknown_team", _:
            return _UNKNOWN
        case "team_full", _:
            return _FULL
        case "newcomers_only", _:
            return _NEWCOMERS
        case "team_over", ("formed",):
            return _COMPLETE
        case "team_over", (state,):
            return refused(
                409,
                "team_over",
                "This team takes no one now.",
                f"{_OVER.get(state, 'It takes no one now.')} Nothing was held. "
                "Join another open team, or open one.",
                state=state,
            )
        case "in_team", (claim_id,):
            return refused(
                409,
                "in_team",
                "You have a seat in this team already.",
                "Nothing more was held. Look at your claim.",
                claim_id=claim_id,
            )
        case "team_open", (team_id,):
            return refused(
                409,
                "team_open",
                "You have an open team of this offer already.",
                "Nothing was held. Share that one; you may also join others.",
                team_id=team_id,
            )
        case _:
            return None
