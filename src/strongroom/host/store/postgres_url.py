"""URLs of databases. They may hold a password, so no text here repeats one."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit, urlunsplit

from strongroom.host.store.port import WrongDatabase


def servers(url: str) -> list[str]:
    """A URL for each server that `url` names, in order. Raises `WrongDatabase`.

    Each is given its own time to connect: asyncpg's limit is for all of them, and a switched-off first would use it up.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        credentials, at, hosts = parts.netloc.rpartition("@")
        for host in hosts.split(","):
            _ = urlsplit(f"postgresql://{host}").port  # raises ValueError when it is no number
    except ValueError:
        parts, query = urlsplit(""), {}
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
        # The URL may hold a password: it is not repeated.
        raise WrongDatabase(
            "that is no URL of a PostgreSQL database",
            "write postgresql://USER@HOST/DATABASE; special characters in a name as %XX",
        )
    if parts.path == "/":
        parts = parts._replace(path="")  # else asyncpg takes it for a database without a name
    if "," not in hosts or "host" in query:
        return [urlunsplit(parts)]
    return [urlunsplit(parts._replace(netloc=credentials + at + host)) for host in hosts.split(",")]


def names_password(url: str) -> bool:
    """Whether the URL itself holds a password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # it is none, which `servers` says
        return False
    credentials, _, _ = parts.netloc.rpartition("@")
    return ":" in credentials or "password" in parse_qs(parts.query)
