"""The database that `--database` or the environment names. Its URL may hold a password, so it is never repeated."""

from __future__ import annotations

import os
from typing import Final

from strongroom.cli.terminal import Failure
from strongroom.host.store.port import WrongDatabase
from strongroom.host.store.postgres_url import names_password, servers

VARIABLE: Final = "STRONGROOM_DATABASE"


def database_url(url: str | None) -> str | None:
    """The one that was named, or that of the environment; None: the rows are in the data directory.

    Raises `Failure` for one on the command line with a password, and for what is no URL of a database: a variable that
    somebody set for another program is looked at as well, so it says where the URL stood.
    """
    if url is not None and names_password(url):
        raise Failure(
            "--database: whoever lists the processes of this machine would read the password",
            f"leave it out, and have it in PGPASSWORD or ~/.pgpass; or name the whole URL in {VARIABLE}",
        )
    found = url if url is not None else os.environ.get(VARIABLE) or None
    if found is not None:
        where, instead = ("--database", "") if url is not None else (f"the variable {VARIABLE}", ", or unset it")
        try:
            servers(found)
        except WrongDatabase as error:
            raise Failure(f"{where}: {error}", f"{error.hint}{instead}") from None
    return found
