from __future__ import annotations

from cutaway.runs import Progress, SilentProgress


def test_silence() -> None:
    progress: Progress = SilentProgress()
    with progress.stage("pretrain"), progress.task("pretrain", 10, "steps") as task:
        task.update(3, loss=2.0, note="x")
    progress.say("hello")
    progress.sample(1, "a", "b")
