"""Files and data from strangers: no symbolic link is followed, every size bounded.

A folder of runs may come from another person. In it a name can be a link to a file of the user's, a pipe that never
ends, or a few bytes that unpack to gigabytes. What is below such a folder is opened here: each part of a path by its
parent's descriptor (openat with O_NOFOLLOW), regular files only, and written to a fresh name that is then renamed.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where the sandbox cannot confine a controller either
    fcntl = None  # type: ignore[assignment]

MOST_BYTES = 64 * 2**20  # of one file, text or unpacked recording; the largest video seen was 2 MB
MOST_JSON = 32 * 2**20  # Python's objects take up to twenty times the space of their text
MOST_DEPTH = 100  # of nested JSON; settings have 3 levels, and recursion ends at about 1,000
TRIES, PAUSE = 5, 0.05  # seconds; ``is_locked`` holds a lock for microseconds

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BASE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Windows opens no file by its folder's descriptor: links are looked for before opening instead.
_BY_DESCRIPTOR = os.open in os.supports_dir_fd and bool(_NO_LINK)


def open_read(root: Path, name: str) -> BinaryIO:
    """Open a regular file below a folder for reading, following no link.

    Args:
        root: the folder; it may itself be a link, since the user named it.
        name: the path below it, its parts separated by "/".

    Raises:
        OSError: there is none, a part of the path is a link, or it is no regular file.
    """
    return os.fdopen(open_descriptor(root, name, os.O_RDONLY), "rb")


def open_append(root: Path, name: str) -> BinaryIO:
    """Open a file below a folder for appending, created if need be.

    Args:
        root: the folder.
        name: as of ``open_read``.

    Raises:
        OSError: as of ``open_read``; or the file has a second name (a hard link), which may be one of the user's.
    """
    descriptor = open_descriptor(root, name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise OSError(
            errno.EMLINK, "it has a second name, a hard link, and is not written to", str(root / name)
        )
    return os.fdopen(descriptor, "ab")


def open_descriptor(root: Path, name: str, flags: int) -> int:
    """Return a descriptor of a regular file below a folder.

    Args:
        root: the folder.
        name: as of ``open_read``.
        flags: of ``os.open``.

    Raises:
        OSError: as of ``open_read``.
    """
    *folders, last = _parts(root, name)
    with _folder(root, folders) as (prefix, parent), _named(root / name):
        # Without O_NONBLOCK the opening of a pipe waits for its other end.
        flags |= _BASE | _NO_LINK | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(f"{prefix}{last}", flags, 0o666, dir_fd=parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file")
        return descriptor


def open_locked(root: Path, name: str) -> int | None:
    """Open a file below a folder, made if it is not there, and lock it (flock).

    The kernel releases the lock when the descriptor is closed, however the process ends.

    Args:
        root: the folder.
        name: as of ``open_read``.

    Returns:
        The descriptor, None where another process holds the lock.

    Raises:
        OSError: as of ``open_read``, or the file cannot be written.
    """
    descriptor = open_descriptor(root, name, os.O_RDWR | os.O_CREAT)
    for _ in range(TRIES):
        if _lock(descriptor):
            return descriptor
        time.sleep(PAUSE)
    os.close(descriptor)
    return None


def is_locked(root: Path, name: str) -> bool:
    """Return whether a process holds the lock of a file, this one included.

    Args:
        root: the folder.
        name: as of ``open_read``. A file that cannot be read is not locked.
    """
    try:
        descriptor = open_descriptor(root, name, os.O_RDONLY)
    except OSError:
        return False
    try:
        # A shared lock, so that several may ask at once. flock belongs to the descriptor: closing this one does not
        # release a lock that this process holds by another, as it would with POSIX locks.
        return fcntl is not None and not _lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_file(root: Path, name: str) -> bool:
    """Return whether there is a regular file below a folder, by a path without links.

    Args:
        root: the folder.
        name: as of ``open_read``.
    """
    try:
        *folders, last = _parts(root, name)
        with _folder(root, folders) as (prefix, parent):
            status = os.stat(f"{prefix}{last}", dir_fd=parent, follow_symlinks=False)
            return stat.S_ISREG(status.st_mode)
    except OSError:
        return False


def read_bytes(root: Path, name: str, most: int = MOST_BYTES) -> bytes:
    """Return a file's content.

    Args:
        root: the folder.
        name: as of ``open_read``.
        most: bytes that it may have.

    Raises:
        OSError: as of ``open_read``; or it has more bytes.
    """
    with open_read(root, name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(root / name))
    return content


def write(root: Path, name: str, content: bytes | BinaryIO, *, sync: bool = False) -> int:
    """Write a file below a folder atomically, in place of what has its name.

    It is written under a fresh name and renamed. So a link of that name is replaced, and what it leads to stays.

    Args:
        root: the folder; made if need be, as are the folders between.
        name: as of ``open_read``.
        content: its bytes, or an open file to copy.
        sync: wait until file and name are on disk.

    Returns:
        The number of bytes.

    Raises:
        OSError: it cannot be written, or a folder between is a link.
    """
    *folders, last = _parts(root, name)
    root.mkdir(parents=True, exist_ok=True)
    with _folder(root, folders, create=True) as (prefix, parent), _named(root / name):
        draft, target = f"{prefix}.{last}.{secrets.token_hex(4)}.part", f"{prefix}{last}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | _BASE
        try:
            with os.fdopen(os.open(draft, flags, 0o666, dir_fd=parent), "wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    shutil.copyfileobj(content, file, 1 << 20)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                size = file.tell()
            os.replace(draft, target, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft, dir_fd=parent)
            raise
        if sync and parent is not None:
            os.fsync(parent)  # a rename is on disk when its folder is
        return size


def replace(root: Path, old: str, new: str, *, sync: bool = False) -> None:
    """Rename a file within a folder, in place of what has the new name.

    Args:
        root: the folder.
        old: the name of a file in it.
        new: another name in it.
        sync: wait until the name is on disk.

    Raises:
        OSError: it cannot be renamed.
    """
    with _folder(root, []) as (prefix, parent), _named(root / new):
        os.replace(f"{prefix}{old}", f"{prefix}{new}", src_dir_fd=parent, dst_dir_fd=parent)
        if sync and parent is not None:
            os.fsync(parent)


def require_own(root: Path) -> None:
    """Refuse a folder with links that lead out of it, before a library writes there.

    Args:
        root: the folder, which need not exist.

    Raises:
        OSError: it is a link itself, or a link in it leads elsewhere.
    """
    if root.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link and is not followed", str(root))
    home = os.path.realpath(root)
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and os.path.commonpath((home, os.path.realpath(path))) != home:
                raise OSError(errno.ELOOP, "a symbolic link in it leads elsewhere and is not followed", path)


def require_regular(path: Path) -> None:
    """Refuse a link, a pipe or a device, before a library opens it.

    Raises:
        OSError: it is one; nothing where there is no such file.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.EINVAL, "it is a symbolic link, or no regular file", str(path))


def inflate(data: bytes, most: int = MOST_BYTES) -> bytes:
    """Return what zlib compressed, against decompression bombs.

    Args:
        data: a whole zlib stream.
        most: bytes that it may unpack to.

    Raises:
        ValueError: it is none, is cut, or unpacks to more.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(f"must be compressed data ({error})") from error
    if len(content) > most:
        raise ValueError(f"must unpack to at most {most:,} bytes")
    if not stream.eof:
        raise ValueError("must be whole compressed data, and its end is missing")
    return content


def load_json(text: str | bytes, most: int = MOST_JSON) -> Any:
    """Return what a JSON text holds, its size and its depth bounded.

    Args:
        text: the JSON.
        most: characters or bytes that it may have.

    Raises:
        ValueError: it is no JSON, is longer, or is nested more than ``MOST_DEPTH`` levels.
    """
    if not isinstance(text, str | bytes):
        raise ValueError(f"must be JSON as text, got {type(text).__name__}")
    if len(text) > most:
        raise ValueError(f"must be JSON of at most {most:,} characters, got {len(text):,}")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("must be JSON that is not nested as deeply") from error
    # With a list rather than by recursion, which is what the depth would exhaust.
    level, depth = [value], 0
    while level := [
        inner
        for item in level
        if isinstance(item, dict | list)
        for inner in (item.values() if isinstance(item, dict) else item)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError(f"must be JSON of at most {MOST_DEPTH} levels")
    return value


def _parts(root: Path, name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or (os.sep != "/" and os.sep in part) for part in parts):
        raise OSError(errno.EINVAL, "it is not a path below its folder", f"{root}/{name!r}")
    return parts


@contextmanager
def _folder(root: Path, folders: list[str], *, create: bool = False) -> Iterator[tuple[str, int | None]]:
    """Yield prefix and descriptor by which names below ``root`` are opened."""
    if not _BY_DESCRIPTOR:
        path = root
        for part in folders:
            path = path / part
            if path.is_symlink():
                raise OSError(errno.ELOOP, "it is a symbolic link and is not followed", str(path))
            if create:
                path.mkdir(exist_ok=True)
        yield f"{path}{os.sep}", None
        return
    kind = os.O_RDONLY | os.O_DIRECTORY | _BASE
    descriptor = os.open(root, kind)
    try:
        path = root
        for part in folders:
            path = path / part
            with _named(path):
                if create:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                inner = os.open(part, kind | _NO_LINK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield "", descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give an OSError of the block the whole path, and a link its own reason."""
    try:
        yield
    except OSError as error:
        # Linux says "not a directory" of a link that was to be opened as a folder, else "too many levels".
        link = error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK) and path.is_symlink()
        reason = "it is a symbolic link and is not followed" if link else error.strerror or str(error)
        raise OSError(errno.ELOOP if link else error.errno or errno.EIO, reason, str(path)) from error


def interpreter_of(path: Any) -> Any:
    """Return an interpreter's absolute path, by the working directory, "~" or PATH.

    A name without a slash, such as "python3", is looked up on PATH where no file here is called so. What is no path,
    such as "" or a number, is returned as it is, and refused where it is to be started.
    """
    if not (isinstance(path, str | os.PathLike) and str(path).strip()):
        return path
    text = os.path.expanduser(os.fspath(path))
    found = None if os.path.dirname(text) or os.path.isfile(text) else shutil.which(text)
    return os.path.abspath(found or text)
