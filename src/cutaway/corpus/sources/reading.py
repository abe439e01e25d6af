"""Finding the inputs of a corpus, and reading each by its kind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources.bounds import Unreadable
from cutaway.corpus.sources.hub import PREFIX, hub_files
from cutaway.corpus.sources.json_lines import read_json_lines
from cutaway.corpus.sources.local_file import ONE_PAGE
from cutaway.corpus.sources.opened import bare_suffix
from cutaway.corpus.sources.parquet import read_parquet
from cutaway.corpus.sources.url_list import read_url_list
from cutaway.corpus.sources.warc import read_warc
from cutaway.corpus.sources.wikipedia import read_wikipedia
from cutaway.runs.errors import BadInput

_KINDS = {
    ".warc": read_warc,
    ".wet": read_warc,
    ".xml": read_wikipedia,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".csv": read_url_list,
    ".tsv": read_url_list,
    **ONE_PAGE,
}
_LISTS = (".csv", ".tsv")
_WHOLE = (".parquet", ".pdf", ".docx")  # compressed already, and read from several places: never with .gz behind


def find_inputs(paths: Sequence[str | Path]) -> list[Path]:
    """The files that hold pages: those of `paths`, and in folders all below them in sorted order, hidden ones apart.

    `hub:OWNER/NAME` stands for the files of a data set. Lists of URLs (.csv, .tsv) count only where they are named
    themselves, for in a folder the files that they list are found anyway. A file that is named twice is there once.

    Raises:
        BadInput: a missing path, a file of another kind, a folder without any.
        CutawayError: a data set that cannot be downloaded.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = hub_files(str(given)) if str(given).startswith(PREFIX) else Path(given)
        if path.is_dir():
            files = sorted(_files_below(path))
            if not files:
                raise BadInput(f"{given} holds nothing to read: give a folder with {', '.join(_KINDS)} files")
            found.update(dict.fromkeys(files))
        elif not path.exists():
            raise BadInput(f"{given} does not exist: give a file or a folder")
        elif not _is_readable(path):
            raise BadInput(f"{given} is no kind of file that can be read: give {', '.join(_KINDS)} or a folder")
        else:
            found[path] = None
    return list(found)


def read_pages(path: str | Path, name: str) -> Iterator[Page | Skipped]:
    """The pages of one file, in its order and as a stream; what cannot be read is told, and reading goes on after it.

    Args:
        path: a file that `find_inputs` gave.
        name: what the pages' ids begin with and their source is: unique among the files, such as the path in a folder.

    Raises:
        BadInput: a library is missing.
    """
    path = Path(path)
    try:
        yield from _KINDS[bare_suffix(path)](path, name)
    except Unreadable as reason:
        yield Skipped(name, str(reason))
    except OSError as error:
        yield Skipped(name, f"it cannot be read ({error.strerror or error})")


def _is_readable(path: Path) -> bool:
    suffix = bare_suffix(path)
    return suffix in _KINDS and path.is_file() and (suffix not in _WHOLE or path.suffix.lower() == suffix)


def _refuse(error: OSError) -> NoReturn:
    """A folder that cannot be read is told of; to leave it out would be silent."""
    raise BadInput(f"{error.filename} cannot be read ({error.strerror}): check its permissions") from None


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(parent, name)
            if not name.startswith(".") and bare_suffix(file) not in _LISTS and _is_readable(file):
                yield file
