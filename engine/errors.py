"""The error tree: what should not happen on a good day.

KaituanError
├── BadInput            400  the request cannot be understood or breaks a rule of form
├── NotSignedIn         401  no token, or one that is forged or expired
├── NotAllowed          403  signed in, but not for this
├── Missing             404  not there, or not yours (never told apart)
├── Conflict            409  the state does not allow it now
├── Gone                410  it was there and is lost; the code says how
├── Unprocessable       422  understood, but contradicts what is stored
├── TooMany             429  a rate limit
├── Unavailable         503  try again: reopening, busy, store unreachable
└── RefusedStart             a server or setting this start cannot work with (never over HTTP)

Each carries a stable `code`, a `title` for people and, where it helps, a `detail` and `extra`
members for the problem document. What a buyer can cause on a good day (sold out, limit reached)
is a value of the command's result, not one of these.
"""

from typing import ClassVar


class KaituanError(Exception):
    """Base of all; `status` is the HTTP status the API answers with."""

    status: ClassVar[int] = 500

    def __init__(self, code: str, title: str, detail: str = "", **extra: object) -> None:
        super().__init__(f"{code}: {title}{' ' + detail if detail else ''}")
        self.code = code
        self.title = title
        self.detail = detail
        self.extra = extra


class BadInput(KaituanError):
    status = 400


class NotSignedIn(KaituanError):
    status = 401


class NotAllowed(KaituanError):
    status = 403


class Missing(KaituanError):
    status = 404


class Conflict(KaituanError):
    status = 409


class Gone(KaituanError):
    status = 410


class Unprocessable(KaituanError):
    status = 422


class TooMany(KaituanError):
    status = 429


class Unavailable(KaituanError):
    status = 503


class RefusedStart(KaituanError):
    status = 503
