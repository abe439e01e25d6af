"""Data sets on the Hugging Face Hub: `hub:OWNER/NAME`, through `huggingface_hub`, into its own cache."""

from __future__ import annotations

import re
from pathlib import Path

from cutaway.runs.errors import BadInput, CutawayError

PREFIX = "hub:"
WANTED = ("*.parquet", "*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.warc.gz", "*.wet.gz")
"""Files that hold pages. Never a script, which some data sets carry: that is code, and is not run."""


def hub_files(reference: str) -> Path:
    """The folder of the data set `hub:OWNER/NAME`, or `hub:OWNER/NAME@REVISION`; what is not here yet is downloaded.

    Raises:
        BadInput: not such a reference, or no such data set.
        CutawayError: `huggingface_hub` is not installed, or the hub cannot be reached.
    """
    match = re.fullmatch(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@(.+))?", reference, re.ASCII)
    if match is None:
        raise BadInput(f"{reference} is no data set of the hub; write hub:OWNER/NAME, as hub:HuggingFaceFW/fineweb-edu")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise CutawayError(f"{reference} needs the package huggingface_hub: `pip install 'cutaway[hub]'`") from None
    name, revision = match.groups()
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=list(WANTED)))
    except (RepositoryNotFoundError, HFValidationError):
        raise BadInput(f"{reference} is no data set of the hub that you may read: check its name") from None
    except LocalEntryNotFoundError:
        raise CutawayError(f"{reference} cannot be downloaded: the hub cannot be reached") from None
    except Exception as error:  # of the network's many errors each library has its own
        raise CutawayError(f"{reference} cannot be downloaded ({type(error).__name__}: {error})") from None
