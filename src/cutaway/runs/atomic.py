"""Writes that a reader, or the next process after a kill or a power cut, sees whole or not at all.

Everything goes to a temporary name in the same directory, is fsynced, and is renamed over the old name. What a killed
process leaves behind are only those temporary names; `sweep` removes them.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cutaway.runs.errors import CutawayError

TEMPORARY_SUFFIX = ".cutaway-tmp"


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` atomically, making its parent directories.

    Raises:
        CutawayError: the disk is full or the place cannot be written; an earlier file at `path` is untouched.
    """
    write_chunks(path, (data,))


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` one after another, made as they are needed; see `write_bytes`."""
    path = Path(path)
    with told_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_name(path)
        try:
            # Mode 0o666 less the umask, as `open` does; `tempfile` would make it 0o600 and surprise a group.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _fsync_directory(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` as UTF-8 atomically; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` to `path` as indented JSON atomically; see `write_bytes`.

    Raises:
        ValueError: `obj` holds a NaN or an infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def directory(path: str | os.PathLike[str]) -> Generator[Path]:
    """Give a new empty sibling directory of `path` to fill; on success it takes the place of `path` in one step.

    If the block raises, the temporary directory is removed and `path` stays as it was.

    Raises:
        CutawayError: the disk is full (also when the block's own writes ran into that).
    """
    path = Path(path)
    with told_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_name(path)
        temporary.mkdir()
        try:
            yield temporary
            _fsync_tree(temporary)
            _put_in_place(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _fsync_directory(path.parent)


def sweep(root: str | os.PathLike[str]) -> None:
    """Remove what killed processes left under `root`. Only safe for the one process that may write there."""
    for parent, directories, files in os.walk(root):
        for name in [name for name in directories if name.endswith(TEMPORARY_SUFFIX)]:
            shutil.rmtree(Path(parent, name), ignore_errors=True)
            directories.remove(name)
        for name in files:
            if name.endswith(TEMPORARY_SUFFIX):
                with suppress(OSError):
                    os.unlink(Path(parent, name))


@contextmanager
def told_plainly(path: str | os.PathLike[str]) -> Generator[None]:
    """Turn a full disk or a forbidden place, met inside the block while writing `path`, into a `CutawayError`.

    Libraries report a full disk each in their own way (safetensors and PyTorch do not raise OSError), hence the look
    at the text.
    """
    try:
        yield
    except CutawayError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        text = str(error)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "os error 28" in text:
            raise CutawayError(
                f"no space left on the disk that holds {path}; free some, then the same command carries on"
            ) from error
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) and isinstance(error, OSError) and error.filename:
            raise CutawayError(f"{error.filename} cannot be used ({error.strerror}); choose another place") from error
        raise


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")


def _fsync_directory(path: Path) -> None:
    # Some file systems refuse fsync on a directory; then the rename is as durable as they can make it.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _fsync_tree(root: Path) -> None:
    for parent, _, files in os.walk(root):
        for name in files:
            descriptor = os.open(Path(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _fsync_directory(Path(parent))


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename the directory `temporary` to `path`, replacing what is there."""
    if not os.path.lexists(path):
        os.rename(temporary, path)
        return
    # POSIX rename cannot replace a directory that is not empty. Swapping the two names is one atomic step; moving the
    # old one aside first (the way where no swap exists) leaves an instant with nothing at `path`.
    aside = _temporary_name(path)
    if _exchange(temporary, path):
        os.rename(temporary, aside)
    else:
        os.rename(path, aside)
        os.rename(temporary, path)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink()


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step, where the system can; False where it cannot."""
    swap = _exchange_call()
    return swap is not None and swap(os.fsencode(first), os.fsencode(second)) == 0


def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        current_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return lambda a, b: library.renameat2(current_directory, a, current_directory, b, exchange)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return lambda a, b: library.renamex_np(a, b, 2)  # RENAME_SWAP
    return None
