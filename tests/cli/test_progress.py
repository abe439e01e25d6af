from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cutaway.cli.progress import TerminalProgress, duration, figure


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(*, terminal: bool, width: int = 80) -> tuple[TerminalProgress, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    console = Console(
        file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None, highlight=False
    )
    return TerminalProgress(console, clock), out, clock


def test_a_log_gets_plain_lines_now_and_then() -> None:
    progress, out, clock = make(terminal=False)
    with progress:
        clock.now += 5
        with progress.stage("evaluate_sft"):
            with progress.task("questions to sft", 100, "questions") as task:
                for done in range(0, 101, 10):
                    task.update(done, loss=2.5, tok_s=12_000.4, mfu=0.61, val_bpb=1.25)
                    clock.now += 3
            progress.say("sft: one\nline")
        with progress.stage("report"), progress.task("report", None, "pages") as task:
            task.update(1)
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert lines[0] == "evaluate sft" + "0:05".rjust(80 - len("evaluate sft"))
    shown = [line for line in lines if "questions" in line]
    assert (
        shown[0] == "  questions to sft  40%  40/100 questions  loss 2.500  bpb 1.250  12,000 tok/s  mfu 61%  0:18 left"
    )
    assert len(shown) == 2
    assert "  sft: one line" in lines
    assert "  done in 0:33  loss 2.500  bpb 1.250  12,000 tok/s  mfu 61%" in lines
    assert lines[-2:] == ["report" + "0:38".rjust(74), "  done in 0:00"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_the_live_line_fits(width: int) -> None:
    progress, _, clock = make(terminal=True, width=width)
    console = Console(width=width)
    with progress.stage("pretrain"), progress.task("pretrain", 1000, "steps") as task:
        assert text_of(console, progress).strip().startswith("0:00")
        for step in range(400):
            clock.now += 1
            task.update(step + 1, loss=3.2, tok_s=12_345.0, mfu=0.6)
        task.update(400, val_bpb=1.4)
        line = text_of(console, progress)
        assert len(line) <= width
        assert ("loss 3.200" in line) == (width >= 60)
        assert "10:00 left" in line
        assert " 40%" in line
        if width >= 80:
            assert "bpb 1.400  12,345 tok/s  mfu 60%" in line


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_download_shows_its_size_and_speed(width: int) -> None:
    progress, _, clock = make(terminal=True, width=width)
    console = Console(width=width)
    with progress, progress.task("smollm2-135m", 93_000_000, "bytes") as task:
        task.update(0)
        assert ("0 B of 93 MB" in text_of(console, progress)) == (width >= 60)
        for second in range(1, 11):
            clock.now += 1
            task.update(3_100_000 * second)
        line = text_of(console, progress)
        assert len(line) <= width
        assert "0:20 left" in line
        assert ("33%  31 MB of 93 MB  3.1 MB/s  0:20 left" in line) == (width >= 80)


def test_a_download_in_a_log() -> None:
    progress, out, clock = make(terminal=False)
    with progress, progress.task("smollm2-135m", 93_000_000, "bytes") as task:
        task.update(0)
        clock.now += 10
        task.update(31_000_000)
    with progress, progress.task("of unknown size", None, "bytes") as task:
        clock.now += 10
        task.update(31_000_000)
    assert out.getvalue().splitlines() == [
        "  smollm2-135m  33%  31 MB of 93 MB  3.1 MB/s  0:20 left",
        "  of unknown size  31 MB",
    ]


def text_of(console: Console, progress: TerminalProgress) -> str:
    with console.capture() as capture:
        console.print(progress)
    [line] = capture.get().splitlines()
    return line


def test_time_left_after_resuming_counts_from_where_it_resumed() -> None:
    progress, _, clock = make(terminal=True)
    with progress.task("x", 1000, "steps") as task:
        task.update(901)
        clock.now += 1
        task.update(902)
        assert task.left() == pytest.approx(98)


def test_samples_take_two_lines_at_most_and_no_control_codes() -> None:
    progress, out, _ = make(terminal=True)
    progress.sample(1500, "The king of", " \x1b[2J the [bold]land[/]\n" + "and the people " * 30)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in out.getvalue().splitlines()]
    assert len(lines) == 2
    assert lines[0].startswith("  step 1,500  The king of �[2J the [bold]land[/] and")
    assert lines[1].endswith("…")
    assert all(len(line) <= 80 for line in lines)


def test_durations_and_figures() -> None:
    assert [duration(s) for s in (0, 7.9, 750, 3723)] == ["0:00", "0:07", "12:30", "1:02:03"]
    assert figure("val_bpb", 1.2345) == "bpb 1.234"
    assert figure("mfu", 0.615) == "mfu 62%"
    assert figure("kept", 12_345.0) == "kept 12,345"
    assert figure("lr", 0.0012) == "lr 0.0012"
    assert figure("task", "fa\x1bcts") == "task fa�cts"
    assert figure("loss", float("nan")) == "loss nan"


def test_an_error_in_a_stage_leaves_the_terminal_as_it_was() -> None:
    progress, out, _ = make(terminal=True)
    with pytest.raises(KeyboardInterrupt), progress, progress.stage("x"), progress.task("x", 3, "steps"):
        raise KeyboardInterrupt
    assert "done" not in out.getvalue()
    assert out.getvalue().count("\x1b[?25l") == out.getvalue().count("\x1b[?25h")
