"""Models on the Hugging Face Hub: `hub:OWNER/NAME`, through `huggingface_hub`, into its own cache."""

from __future__ import annotations

import re
from pathlib import Path

from cutaway.runs.errors import BadInput, CutawayError
from cutaway.runs.progress import Progress, SilentProgress

PREFIX = "hub:"
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer*", "*.model")
"""Weights and what describes them. Never a pickle (.bin, .pt, .ckpt): that is code, and would run when opened."""
UNWANTED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*/*.safetensors")
"""What the patterns above would take in by accident, and second copies of the weights in other shapes."""


def hub(reference: str, progress: Progress | None = None) -> Path:
    """The directory of the model `hub:OWNER/NAME`, or `hub:OWNER/NAME@REVISION`; what is not here yet is downloaded.

    What was downloaded before is looked for again without a network, and a broken download carries on. The library
    draws its own bars on a terminal.

    Raises:
        BadInput: not such a reference, no such model, or one without a configuration or safetensors.
        CutawayError: `huggingface_hub` is not installed, or the hub cannot be reached.
    """
    match = re.fullmatch(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@(.+))?", reference, re.ASCII)
    if match is None:
        raise BadInput(f"{reference} is no model of the hub; write hub:OWNER/NAME, as hub:HuggingFaceTB/SmolLM2-360M")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise CutawayError(
            f"{reference} needs huggingface_hub, which is not installed; pip install 'cutaway[hub]' adds it"
        ) from None
    (progress or SilentProgress()).say(f"{reference} comes through huggingface_hub")
    try:
        path = snapshot_download(
            match[1], revision=match[2], allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
        )
    except GatedRepoError:
        raise CutawayError(
            f"{reference} asks for its terms to be accepted on its page; do so, then log in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise BadInput(f"{reference}: that model has no revision {match[2]}") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise BadInput(
            f"the hub has no model {match[1]} that you may see; check the name, or log in with `hf auth login`"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise _unreachable(reference, error) from error
    except Exception as error:
        # Its HTTP library has changed between versions, and with it the exceptions for a broken connection.
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3"):
            raise _unreachable(reference, error) from error
        raise
    directory = Path(path)
    for needed, why in (("config.json", "configuration"), ("*.safetensors", "weights in safetensors")):
        if not any(directory.glob(needed)):
            raise BadInput(f"{reference} has no {why}, so it cannot be opened; other formats may hold code")
    return directory


def _unreachable(reference: str, error: Exception) -> CutawayError:
    if isinstance(error, OSError) and error.errno is not None and "No space left" in str(error):
        return CutawayError(f"no space left on the disk while getting {reference}; free some, or set HF_HOME")
    return CutawayError(
        f"{reference} is not here, and the hub cannot be reached ({type(error).__name__}); connect (or unset "
        "HF_HUB_OFFLINE) and try again, or take a model of `cutaway models`, which needs no hub"
    )
