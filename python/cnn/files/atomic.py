"""Files written whole or not at all: to a temporary neighbour, flushed, renamed over; then the folder is flushed.

On Linux the neighbour has no name until it is whole: a process that SIGTERM or SIGKILL ends leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

# What a system says that can't flush a folder, and one that can't make a file without a name there.
_NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR}
_NO_NAMELESS = {errno.EINVAL, errno.ENOTSUP, errno.EISDIR, errno.ENOENT}
_ENDING = 1 + 16 + len(".tmp")  # of a temporary name: a point, digits, the suffix
_OLD = 86_400  # seconds after which litter is litter, where no lock tells


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes the file or leaves what was there."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write to; it takes the place of `path` when the block ends well, and is gone when it does not.

    A symbolic link is followed, the permissions of the old file are kept, and what a killed writer of the same file
    left behind is removed.

    Raises:
        OSError: of the system, and then the old file is as it was; or the path is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    mode = _mode(path, target)
    try:
        sweep(target.parent, re.escape(_prefix(target)))
        with _Neighbour(target, mode) as neighbour:
            yield neighbour.file
            neighbour.replace()
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno is None or getattr(error, "said", False):
            raise
        text = f"{os.strerror(error.errno)}; nothing half-written is left"
        said = OSError(error.errno, text, str(path))
        said.said = True  # type: ignore[attr-defined]
        raise said from error


def check_place(path: str | os.PathLike[str], what: str) -> None:
    """Raises ValueError, `what` and why, where a file could not be written: before the work that fills it is done."""
    target = Path(os.path.realpath(path))
    folder = Path(path).parent if target == Path(path).absolute() else target.parent
    if target.is_dir():
        why = "that is a folder; give the name of a file"
    elif target.exists() and not target.is_file():
        why = "that is no regular file, and can't be replaced by one"
    elif not folder.is_dir():
        why = f"{folder} is a file, not a folder" if folder.exists() else f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = f"the folder {folder} can't be written to"
    else:
        return
    raise ValueError(f"{what}: {why}")


def _mode(path: str | os.PathLike[str], target: Path) -> int | None:
    """The permissions of the file that is replaced; None without one."""
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {target.parent}", str(path))
    try:
        found = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found):
        raise OSError(errno.EINVAL, "not a regular file, and nothing that could be replaced", str(path))
    return stat.S_IMODE(found)


class _Neighbour:
    """A new file beside `target`, locked until it has taken its place: who finds no lock may remove it.

    A lock ends with its process; where there are none, age must do.
    """

    def __init__(self, target: Path, mode: int | None) -> None:
        self.target = target
        self.name: Path | None = None  # none yet, or none any more
        try:
            handle = self._open(0o666 if mode is None else mode & 0o777)
            try:
                if mode is not None and hasattr(os, "fchmod"):
                    os.fchmod(handle, mode)  # what the mask of the process has taken away
                self.file: BinaryIO = os.fdopen(handle, "wb")
            except BaseException:
                os.close(handle)
                raise
        except BaseException:
            self._remove()
            raise

    def __enter__(self) -> _Neighbour:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with contextlib.suppress(OSError):  # said already, when it was flushed
                self.file.close()
        finally:
            self._remove()

    def replace(self) -> None:
        """Puts the file, flushed, in the place of the target."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if self.name is None:
            self.name = self._free_name()
            folder = os.open(self.target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:  # with a folder given, os.link follows the link in /proc to the file itself
                os.link(f"/proc/self/fd/{self.file.fileno()}", self.name.name, dst_dir_fd=folder)
            finally:
                os.close(folder)
        if fcntl is None:  # Windows renames no open file
            self.file.close()
        os.replace(self.name, self.target)
        self.name = None

    def _open(self, mode: int) -> int:
        """A handle of the new file, locked; without a name where the system can do that."""
        if hasattr(os, "O_TMPFILE"):
            try:
                handle = os.open(self.target.parent, os.O_WRONLY | os.O_TMPFILE, mode)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
            else:
                if os.path.exists(f"/proc/self/fd/{handle}"):
                    _lock(handle)
                    return handle
                os.close(handle)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        while True:
            self.name = self._free_name()
            handle = os.open(self.name, flags, mode)
            _lock(handle)
            if os.path.exists(self.name):  # not swept away by another writer before it was locked
                return handle
            os.close(handle)

    def _free_name(self) -> Path:
        return self.target.with_name(f"{_prefix(self.target)}{secrets.token_hex(8)}.tmp")

    def _remove(self) -> None:
        if self.name is not None:
            with contextlib.suppress(OSError):
                self.name.unlink(missing_ok=True)


def _lock(handle: int) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)


def _prefix(target: Path) -> str:
    """How temporary names of that file begin: its name, or so much of it that the system takes them, and a digest."""
    try:
        most = os.pathconf(target.parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        most = 255
    name, most = target.name, most - _ENDING - 1
    if len(os.fsencode(name)) > most:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        while len(os.fsencode(name)) > most - 17:
            name = name[:-1]
        name = f"{name}.{digest}"
    return f".{name}."


def sweep(folder: Path, prefix: str) -> None:
    """Removes what killed writers have left of files whose temporary names begin like that (a pattern)."""
    litter = re.compile(prefix + r"[0-9a-f]{16}\.tmp")
    for name in os.listdir(folder):
        if not litter.fullmatch(name):
            continue
        with contextlib.suppress(OSError):
            handle = os.open(folder / name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if fcntl is not None:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(folder / name)
            finally:
                os.close(handle)
            if fcntl is None and time.time() - os.stat(folder / name).st_mtime > _OLD:
                os.unlink(folder / name)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # no handle of a folder can be flushed there
        return
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FLUSH:
            raise
