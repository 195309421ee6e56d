"""Files written whole or not at all: to a temporary neighbour, flushed, renamed over; then the folder is flushed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

# What a system says that can't flush a folder.
_NO_FOLDER_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR}


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
    temporary: Path | None = None
    try:
        sweep(target.parent, re.escape(_prefix(target)))
        temporary, file = _create(target)
        try:
            with file:
                if mode is not None and hasattr(os, "fchmod"):
                    os.fchmod(file.fileno(), mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _flush_folder(target.parent)
    except OSError as error:
        if error.errno is None or getattr(error, "said", False):
            raise
        text = f"{os.strerror(error.errno)}; nothing half-written is left"
        said = OSError(error.errno, text, str(path))
        said.said = True  # type: ignore[attr-defined]
        raise said from error


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


def _create(target: Path) -> tuple[Path, BinaryIO]:
    """A new neighbour of `target`, locked: a lock ends with its process, so who finds none may remove the file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        temporary = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
        handle = os.open(temporary, flags, 0o666)
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.exists(temporary):  # not swept away by another writer before it was locked
                return temporary, os.fdopen(handle, "wb")
            os.close(handle)
            temporary.unlink(missing_ok=True)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(handle)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def _prefix(target: Path) -> str:
    return f".{target.name}."[:200]


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
            if fcntl is None:
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
