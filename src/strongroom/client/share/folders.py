"""Files of this machine: what is sent, and where what was received goes.

Attacks stopped here: a link inside a folder that would send a file from elsewhere, or have one written elsewhere;
an existing file replaced; half a file that looks whole; a file that a program will find where it lands, such as
`.bash_profile` or `.ssh/authorized_keys` of who receives into their home.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import BinaryIO

from strongroom.client.errors import BadInput
from strongroom.client.share.errors import Damaged
from strongroom.client.share.format import FileEntry, Manifest, verify_path
from strongroom.client.share.pack import Source


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """The files named, and those in folders named, under the names that they have there. Raises `BadInput`."""
    return [_source(name, file) for path in paths for name, file in _walk(path)]


def _walk(path: Path) -> Iterator[tuple[str, Path]]:
    name = path.name or path.resolve().name  # `.` has none
    if not path.is_dir():
        yield name, path
        return
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        folders.sort()
        below = Path(folder).relative_to(path)
        for entry in [*folders, *files]:
            if (Path(folder) / entry).is_symlink():
                raise BadInput(
                    f"{Path(folder) / entry} is a link to somewhere else", "name what it leads to, or remove it"
                )
        for file in sorted(files):
            yield (Path(name) / below / file).as_posix(), Path(folder) / file


def _unreadable(error: OSError) -> None:
    raise BadInput(f"can't read {error.filename}: {error.strerror}", "name files and folders that you may read")


def _source(name: str, file: Path) -> Source:
    try:
        found = file.stat()
        with file.open("rb"):
            pass  # to be told now rather than in the middle
    except OSError as error:
        raise BadInput(f"can't read {file}: {error.strerror}", "name files and folders that you may read") from None
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{file} is not a file", "name files and folders")
    kind = guess_type(name, strict=False)[0] or ""
    return Source(name, found.st_size, kind, max(0, int(found.st_mtime)), partial(_open, file))


def _open(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise BadInput(f"can't read {file}: {error.strerror}", "name files and folders that you may read") from None


class Destination:
    """A folder that received files go into: never outside of it, never in place of another file.

    Whoever may write in that folder while this runs could play tricks, and gains nothing: the files would be theirs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def verify_free(self, manifest: Manifest) -> None:
        """Before anything is fetched. Raises `BadInput` where a file is in the way."""
        if not self.folder.is_dir():
            raise BadInput(f"{self.folder} is not a folder", "make it, or name another one")
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise BadInput(f"you may not write into {self.folder}", "name a folder in which you may")
        for entry in manifest.files:
            self._verify_way(self._target(entry))

    def verify_harmless(self, manifest: Manifest) -> None:
        """For a folder that nobody chose for what comes. Raises `BadInput` for what is hidden there, or would lie in a
        folder that is there already: shells, editors and systems run what they find in such places."""
        for entry in manifest.files:
            first, inside, _ = entry.path.partition("/")
            if first.startswith(".") or (inside and os.path.lexists(self.folder / first)):
                raise BadInput(
                    f"{entry.path} would lie where programs look for files of theirs", "name a folder with --output"
                )

    async def write(self, entry: FileEntry, pieces: AsyncIterator[bytes]) -> Path:
        """Write one file; its path. It has its name only when it is whole.

        Raises `BadInput`, and what `pieces` raises; then nothing of it stays behind.
        """
        target = self._target(entry)
        self._verify_way(target)
        draft, file = _begin(target)
        try:
            with file:
                async for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                if file.tell() != entry.size:
                    raise Damaged("it has another size than was said")
            _set_time(draft, entry.modified)
            self._verify_way(target)
            _give_name(draft, target)
        except OSError as error:
            raise _unwritable(target, error) from None
        finally:
            draft.unlink(missing_ok=True)
        return target

    def _target(self, entry: FileEntry) -> Path:
        verify_path(entry.path)  # once more, right where it matters
        return self.folder.joinpath(*entry.path.split("/"))

    def _verify_way(self, target: Path) -> None:
        """Raises `BadInput` unless `target` is free and what leads to it are folders below ours, no links."""
        if os.path.lexists(target):
            raise BadInput(
                f"{target} exists already, and receive never replaces a file", "name another folder with --output"
            )
        for folder in target.relative_to(self.folder).parents:
            way = self.folder / folder
            if folder != Path() and os.path.lexists(way) and (way.is_symlink() or not way.is_dir()):
                raise BadInput(f"{way} is in the way: it is no folder", "name another folder with --output")


def _begin(target: Path) -> tuple[Path, BinaryIO]:
    """A new file beside the target, for its owner alone."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.parent / f".strongroom-{secrets.token_hex(8)}.part"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise _unwritable(target, error) from None
    return draft, os.fdopen(descriptor, "wb")


def _give_name(draft: Path, target: Path) -> None:
    """The name is taken first, and only if it is free; then the whole file takes the place of the empty one."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    draft.replace(target)


def _set_time(file: Path, modified: int) -> None:
    if 0 < modified < 2**32:
        os.utime(file, (modified, modified))


def _unwritable(target: Path, error: OSError) -> BadInput:
    if isinstance(error, FileExistsError):
        return BadInput(
            f"{target} exists already, and receive never replaces a file", "name another folder with --output"
        )
    return BadInput(f"can't write {target}: {error.strerror}", "free some space, or name another folder")
