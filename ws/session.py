"""A viewer's frames: join, comment, like, token, ping.

What breaks the protocol closes with a code of the table; what somebody may do on a good day
(write too fast, to a room that is over) is answered with `refused` and changes nothing. A topic is
entered only here, after the token was seen to name it.
"""

from typing import Final

import msgspec

from engine.errors import NotSignedIn, Unavailable
from engine.ids import now_ms
from engine.room_events import readable
from engine.room_tokens import RoomPass, RoomTokens
from engine.rooms import RoomLogs
from ws import close_codes
from ws.feed import Feed
from ws.hub import Hub
from ws.protocol import (
    Comment,
    Join,
    Joined,
    Like,
    Ping,
    Pong,
    Position,
    Refused,
    Said,
    Token,
    decode,
    frame,
)
from ws.topic import Topic
from ws.viewer import Viewer

_SAYS: Final = {
    "not_joined": "You are not in this room.",
    "sign_in_first": "Sign in to write in the room.",
    "too_long": "This is too long; please shorten it.",
    "empty": "There is nothing to say in it.",
    "too_fast": "Please wait a moment before you write again.",
    "not_live": "The room is not open for comments now.",
    "no_log": "The room is being recovered; please try again.",
    "unknown": "It is not known whether this was said; send it again, it is said only once.",
}
_RETRY_MS: Final = 1_000
_CATCH_UPS_MAX: Final = 5  # reads before somebody's position is taken for one of a lost log


class Session:
    """Answers frames; one for all viewers."""

    def __init__(self, hub: Hub, feed: Feed, logs: RoomLogs, tokens: RoomTokens) -> None:
        self._hub = hub
        self._feed = feed
        self._logs = logs
        self._tokens = tokens

    async def on_frame(self, viewer: Viewer, raw: str | bytes) -> None:
        """One message of a viewer, in its order: the next is read when this returns."""
        if not viewer.is_open:
            return  # it was closed, and does not know yet
        if isinstance(raw, bytes):
            viewer.close(close_codes.BAD_FRAME)
            return
        try:
            message = decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            viewer.close(close_codes.BAD_FRAME)
            return
        if isinstance(message, Join) == viewer.joined:  # the first frame joins, and no other
            viewer.close(close_codes.BAD_FRAME)
            return
        match message:
            case Join():
                await self._join(viewer, message)
            case Comment():
                await self._comment(viewer, message)
            case Like():
                self._like(viewer, message)
            case Token():
                self._renew(viewer, message)
            case Ping():
                viewer.send(frame(Pong(message.at_ms, now_ms())))

    async def _join(self, viewer: Viewer, message: Join) -> None:
        names = [position.topic for position in message.topics]
        settings = self._hub.settings
        if len(names) > settings.viewer_topics_max or len(set(names)) < len(names):
            viewer.close(close_codes.BAD_FRAME)
            return
        given = self._verified(viewer, message.token)
        if given is None:
            return
        if not set(names) <= set(given.topics):
            viewer.close(close_codes.NOT_ALLOWED)
            return
        viewer.joined = True  # one join, also while it waits for the store
        for position in message.topics:
            topic = await self._feed.ready(position.topic)
            if topic.known:
                await self._catch_up(topic, position)
        if viewer.is_open and not self._hub.draining:
            self._enter(viewer, given, message)

    async def _catch_up(self, topic: Topic, position: Position) -> None:
        """A position that this gateway does not know: perhaps another one was faster."""
        for _ in range(_CATCH_UPS_MAX):
            is_ahead = position.epoch == topic.epoch and position.offset > topic.offset
            if not is_ahead and position.epoch in ("", topic.epoch):
                return
            await self._feed.refresh(topic)
            if not is_ahead:
                return

    def _enter(self, viewer: Viewer, given: RoomPass, message: Join) -> None:
        """No await in here: what is told now and what follows have no gap between them."""
        hub = self._hub
        topics = [hub.topic(position.topic) for position in message.topics]
        viewer.accept(given)
        names = [topic.name for topic in topics]
        assert set(names) <= set(given.topics)  # law R4
        settings = hub.settings
        viewer.send(frame(Joined(now_ms(), settings.live_every_ms, int(hub.tick_ms), names)))
        for topic, position in zip(topics, message.topics, strict=True):
            if topic.has_after(position.epoch, position.offset):
                hub.metrics.resumes += 1
            else:
                hub.metrics.snapshots += 1
            if told := topic.resume(position.epoch, position.offset):
                viewer.send(told)
        hub.enter(viewer, topics)
        hub.metrics.joins += 1

    def _verified(self, viewer: Viewer, token: str) -> RoomPass | None:
        try:
            return self._tokens.verify(token, now_ms())
        except NotSignedIn:
            viewer.close(close_codes.TOKEN)
            return None

    def _renew(self, viewer: Viewer, message: Token) -> None:
        given = self._verified(viewer, message.token)
        if given is None:
            return
        if given.subject != viewer.subject or not {topic.name for topic in viewer.topics} <= set(
            given.topics
        ):
            viewer.close(close_codes.NOT_ALLOWED)
            return
        viewer.accept(given)

    def _like(self, viewer: Viewer, message: Like) -> None:
        for topic in viewer.topics:
            if topic.name == message.topic and topic.is_room:
                topic.likes_waiting += viewer.count_likes(message.n)
                return
        self._refuse(viewer, "not_joined")

    async def _comment(self, viewer: Viewer, message: Comment) -> None:
        text = " ".join(readable(message.text).split())
        trouble = self._why_not(viewer, message.topic, text)
        if trouble:
            self._refuse(viewer, trouble, message.id)
            return
        try:
            said = await self._logs.say(
                message.topic, viewer.subject, viewer.nickname, message.id, text
            )
        except Unavailable:
            self._hub.metrics.comments["unknown"] += 1
            self._refuse(viewer, "unknown", message.id, retry_ms=_RETRY_MS)
            return
        self._hub.metrics.comments[said.what] += 1
        if said.what in ("said", "stored"):
            viewer.send(frame(Said(message.id, int(said.details[0]))))
            return
        retry_ms = {"too_fast": int(said.details[0]) if said.details else 0, "no_log": _RETRY_MS}
        self._refuse(viewer, said.what, message.id, retry_ms=retry_ms.get(said.what, 0))

    def _why_not(self, viewer: Viewer, name: str, text: str) -> str:
        """Why this cannot be said, before the store is asked; "" when it may."""
        if not any(topic.name == name and topic.is_room for topic in viewer.topics):
            return "not_joined"
        if not viewer.subject:
            return "sign_in_first"
        if not text:
            return "empty"
        return "too_long" if len(text) > self._hub.settings.comment_chars_max else ""

    def _refuse(
        self, viewer: Viewer, code: str, message_id: str = "", *, retry_ms: int = 0
    ) -> None:
        viewer.send(
            frame(
                Refused(
                    code,
                    _SAYS[code],
                    id=message_id or msgspec.UNSET,
                    retry_ms=retry_ms or msgspec.UNSET,
                )
            )
        )
