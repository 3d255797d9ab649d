"""Passwords of the embedded servers: drawn once, kept in a 0600 file of the place."""

import os
import secrets

from cli.place import Place


def secret(place: Place, name: str) -> str:
    """The password called `name` of this place, made at its first use; safe inside a URL."""
    path = place.own_folder("secrets") / name
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    new = path.with_suffix(".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(20))
    new.rename(path)
    return path.read_text()
