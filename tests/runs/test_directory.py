from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cutaway.runs import BadInput, RunDirectory

HOLDER = """
import sys, time
from cutaway.runs import RunDirectory
with RunDirectory(sys.argv[1]).lock():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_run_another_process_uses(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    process = subprocess.Popen([sys.executable, "-c", HOLDER, run.path], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(BadInput, match=rf"is in use by process {process.pid}") as caught, run.lock():
            pass
        assert caught.value.exit_code == 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run.lock():
            assert (run.path / ".lock").read_text() == f"{os.getpid()}\n"
    finally:
        process.kill()
        process.communicate()


def test_the_lock_can_be_taken_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with run.lock(), pytest.raises(BadInput, match=f"process {os.getpid()}"), RunDirectory(run.path).lock():
        pass
    with run.lock():
        pass


def test_a_file_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file, not a run directory"):
        RunDirectory(tmp_path / "file")


def test_making_nothing_before_the_lock(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    assert run.stage("sft") == tmp_path / "run" / "sft"
    assert not run.path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    from cutaway.runs import CutawayError

    with pytest.raises(CutawayError, match="cannot be used"), RunDirectory(tmp_path / "run").lock():
        pass
