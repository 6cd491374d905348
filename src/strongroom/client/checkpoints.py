"""The highest checkpoint of each log that this user's programs have seen: an older state is recognised by it.

A client that forgets is a client that can be shown last month's database. So what a program has seen is kept in a file
for the next one, and what could go wrong with that file is no way to make it forget:

1. Two programs at once, of which the slower would put back what it saw earlier: each says over which checkpoint it puts
   its own, and is told when another one stands there by now.
2. A crash while it is written: the file is replaced whole, and is on the disk before that counts as done.
3. A file that was damaged is moved aside, with a word: never is it taken for "nothing seen yet" in silence.
4. A folder that can't be written: a word, too, and what this one program sees still counts for as long as it runs.

Whoever may write the user's own files can make a client forget. That is nobody whom this defends against.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, unquote

from strongroom.client.errors import BadInput
from strongroom.client.standings import Standing, raised
from strongroom.client.state import state_folder
from strongroom.protocol.errors import Number, Untrusted
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.limits import MAX_CHECKPOINT
from strongroom.protocol.notes import Checkpoint, parse_checkpoint

Say = Callable[[str], None]

_LOCK: Final = ".lock"
_NOTE: Final = ".checkpoint"
_GENERATION: Final = re.compile("[0-9]{1,13}")
_STANDING: Final = "recoveries {}\ngeneration {}\ncouncil {}\nrelease {}\n"
_STANDING_TEXT: Final = re.compile(_STANDING.replace("{}", "([0-9]{1,18})"))


class Checkpoints(Protocol):
    """Where a client keeps one signed checkpoint of each log, by the log's name. Calls may come from any thread."""

    def highest(self, origin: str) -> bytes | None:
        """The note that is kept; None: this log was never seen."""
        ...

    def keep(self, origin: str, note: bytes, over: bytes | None) -> bytes:
        """Put `note` in the place of `over`, which it was shown to extend. What is kept then: another note than `note`
        where somebody else has put it there meanwhile; nothing is changed in that case."""
        ...

    def generations(self, cluster: bytes) -> set[int]:
        """Of which generations of a cluster's log a note is kept. Their numbers are far apart: most are times."""
        ...

    def set_aside(self, origin: str) -> None:
        """Forget the note of a log, which turned out not to be signed by it, and say so."""
        ...

    def standing(self, cluster: bytes) -> Standing | None:
        """How a cluster stood when it was last seen; None: it never was."""
        ...

    def raise_standing(self, cluster: bytes, standing: Standing) -> None:
        """Keep the highest of each part of this and what is kept (`standings.raised`)."""
        ...


class MemoryCheckpoints:
    """Kept for as long as the program runs."""

    def __init__(self) -> None:
        self._notes: dict[str, bytes] = {}
        self._standings: dict[bytes, Standing] = {}

    def highest(self, origin: str) -> bytes | None:
        return self._notes.get(origin)

    def keep(self, origin: str, note: bytes, over: bytes | None) -> bytes:
        if not _may_replace(self._notes.get(origin), note, over):
            return self._notes[origin]
        self._notes[origin] = note
        return note

    def generations(self, cluster: bytes) -> set[int]:
        return _generations(cluster, self._notes)

    def set_aside(self, origin: str) -> None:
        self._notes.pop(origin, None)

    def standing(self, cluster: bytes) -> Standing | None:
        return self._standings.get(cluster)

    def raise_standing(self, cluster: bytes, standing: Standing) -> None:
        self._standings[cluster] = raised(self._standings.get(cluster), standing)


class KeptCheckpoints:
    """Kept in a file for each log, for all programs of this user.

    `say` is told, once, that nothing can be kept there, and of each damaged file.
    """

    def __init__(self, folder: Path, say: Say | None = None) -> None:
        self._folder = folder
        self._say = say or warn
        self._said = False
        self._memory = MemoryCheckpoints()

    def path(self, origin: str) -> Path:
        """Where the checkpoint of a log is kept. The file holds the note as it is."""
        return self._folder / f"{quote(origin, safe='')}{_NOTE}"

    def highest(self, origin: str) -> bytes | None:
        found = None
        try:
            found = self._read(origin)
        except Untrusted:
            found = self._mended(origin)
        except OSError as error:
            self._cannot("read", error)
        return _larger(found, self._memory.highest(origin))

    def keep(self, origin: str, note: bytes, over: bytes | None) -> bytes:
        try:
            with self._locked():
                found = _larger(self._read_or_move_aside(origin), self._memory.highest(origin))
                if found is not None and not _may_replace(found, note, over):
                    return found
                self._write(self.path(origin), note)
        except OSError as error:
            self._cannot("kept", error)
            return self._memory.keep(origin, note, over)
        self._memory.set_aside(origin)  # the file knows more
        return note

    def generations(self, cluster: bytes) -> set[int]:
        names: list[str] = []
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            pass  # nothing was kept yet
        except OSError as error:
            self._cannot("read", error)
        kept = [unquote(name.removesuffix(_NOTE)) for name in names if name.endswith(_NOTE)]
        return _generations(cluster, kept) | self._memory.generations(cluster)

    def set_aside(self, origin: str) -> None:
        self._memory.set_aside(origin)
        try:
            with self._locked():
                self._move_aside(self.path(origin))
        except OSError as error:
            self._cannot("read", error)

    def standing(self, cluster: bytes) -> Standing | None:
        found = None
        try:
            found = _read_standing(self._standing_path(cluster))
        except ValueError:
            with suppress(OSError), self._locked():
                self._move_aside(self._standing_path(cluster))
        except OSError as error:
            self._cannot("read", error)
        kept = self._memory.standing(cluster)
        return kept if found is None else raised(kept, found)

    def raise_standing(self, cluster: bytes, standing: Standing) -> None:
        self._memory.raise_standing(cluster, standing)
        path = self._standing_path(cluster)
        try:
            with self._locked():
                try:
                    found = _read_standing(path)
                except ValueError:
                    self._move_aside(path)
                    found = None
                after = raised(found, standing)
                if after != found:
                    self._write(path, _STANDING.format(*after).encode())
        except OSError as error:
            self._cannot("kept", error)

    def _standing_path(self, cluster: bytes) -> Path:
        return self._folder / f"{cluster.hex()}.standing"

    def _read(self, origin: str) -> bytes | None:
        """Raises `Untrusted` for a damaged file."""
        try:
            with open(self.path(origin), "rb") as file:
                note = file.read(MAX_CHECKPOINT + 1)
        except FileNotFoundError:
            return None
        if parse_checkpoint(note).checkpoint.origin != origin:
            raise Untrusted(Number.INTEGRITY, "a checkpoint of another log")
        return note

    def _mended(self, origin: str) -> bytes | None:
        # Read anew, since another process may have put a good file there before the lock was ours.
        try:
            with self._locked():
                return self._read_or_move_aside(origin)
        except OSError as error:
            self._cannot("read", error)
            return None

    def _read_or_move_aside(self, origin: str) -> bytes | None:
        try:
            return self._read(origin)
        except Untrusted:
            self._move_aside(self.path(origin))
            return None

    def _move_aside(self, path: Path) -> None:
        aside = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
        try:
            path.replace(aside)
        except FileNotFoundError:
            return
        self._say(
            f"{path} is damaged, and was moved to {aside.name}: what it knew of a Vault is lost, so that an "
            "older state would not be noticed this time"
        )

    def _write(self, path: Path, note: bytes) -> None:
        """Whole or not at all, and on the disk. Only one process at a time is here, so the draft needs no own name."""
        draft = path.with_name(f".{path.name}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _cannot(self, done: str, error: OSError) -> None:
        if not self._said:
            self._said = True
            self._say(
                f"no checkpoint can be {done} in {self._folder} ({error.strerror}): an older state of the Vault is "
                "noticed by this program only for as long as it runs"
            )


def own_checkpoints(say: Say | None = None) -> Checkpoints:
    """Those of this user, for all their programs on this machine; in memory, with a word, where there is no home."""
    say = say or warn
    try:
        return KeptCheckpoints(state_folder() / "checkpoints", say)
    except BadInput as error:
        say(f"{error.error}: an older state of the Vault is noticed only for as long as this program runs")
        return MemoryCheckpoints()


def _read_standing(path: Path) -> Standing | None:
    """Raises `ValueError` for a damaged file."""
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    found = _STANDING_TEXT.fullmatch(text)
    if found is None:
        raise ValueError("not a standing")
    return Standing(*map(int, found.groups()))


def _generations(cluster: bytes, origins: Iterable[str]) -> set[int]:
    before = log_origin(cluster).removesuffix("0")
    after = (origin.removeprefix(before) for origin in origins if origin.startswith(before))
    return {int(number) for number in after if _GENERATION.fullmatch(number)}


def _checkpoint(note: bytes | None) -> Checkpoint | None:
    return None if note is None else parse_checkpoint(note).checkpoint


def _may_replace(found: bytes | None, note: bytes, over: bytes | None) -> bool:
    """Signature lines aside: one checkpoint may be cosigned by these witnesses or by those."""
    return found is None or _checkpoint(found) in (_checkpoint(over), _checkpoint(note))


def _larger(one: bytes | None, other: bytes | None) -> bytes | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda note: parse_checkpoint(note).checkpoint.size)


def warn(text: str) -> None:
    """As a program tells its user where nobody has said how."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)
