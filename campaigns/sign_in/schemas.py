"""Sign-in on the wire."""

from typing import Annotated

import msgspec

Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Phone = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class StaffIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Login and password of somebody at HQ, or of a guide."""

    login: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    password: Secret


class PhoneIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Chinese mobile number, as typed."""

    phone: Phone


class CodeIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number and the code that was sent to it."""

    phone: Phone
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=16)]


class CodeSent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A code is on its way; `sandbox_code` shows it in development mode only."""

    valid_ms: int
    sandbox_code: str | None = None


class SessionOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bearer token for the Authorization header, and whom it stands for."""

    access_token: str
    expires_at_ms: int
    role: str
    subject: str
    name: str
    joined: bool = False  # a customer who is new with us, just now
    guide_id: str | None = None  # of a guide
