"""Whether the database is away or does not want these rows: only the first is waited for."""

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_RETRY_STATES = ("40", "53", "55", "57", "58", "08")  # conflicts, resources, outages: not poison


def is_outage(error: Exception) -> bool:
    """Whether the database is away or asks for another try, rather than refusing the rows."""
    if isinstance(error, OSError | PoolTimeout | InterfaceError | OperationalError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return str(state or "")[:2] in _RETRY_STATES
