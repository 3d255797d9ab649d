"""The sandbox's one exception: a request it says no to, without having changed anything."""


class Refused(Exception):
    """Answered as `{"code", "message"}` with `status`; raised inside an act, it rolls back."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
