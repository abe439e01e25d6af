"""Where pages come from: crawls, dumps, tables and folders of files, each kind of file in a file of its own."""

from cutaway.corpus.sources.reading import find_inputs, read_pages

__all__ = ["find_inputs", "read_pages"]
