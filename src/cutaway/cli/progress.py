"""Progress in the terminal: a live line a piece of work, and plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from cutaway.cli.plain import plain
from cutaway.cli.sizes import size
from cutaway.runs import Task

PLAIN_SECONDS = 10.0
"""Seconds between lines about the same work where nothing can be redrawn."""
SPEED_SECONDS = 30.0
"""Time left is reckoned from the speed over so many last seconds."""
NARROWEST_BAR = 6
WIDEST = 100
"""Columns used at most; longer lines are harder to read."""


class TerminalProgress:
    """`cutaway.runs.Progress` for a person at a terminal, or for a log."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console or Console(highlight=False)
        self.clock = clock
        self.began = clock()
        self.width = min(self.console.width, WIDEST)
        self._stage: str | None = None
        self._stage_began = self.began
        self._tasks: list[_Task] = []
        self._figures: dict[str, float | str] = {}
        self._live = Live(self, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """A heading with the time since the run began; a closing line with how long it took."""
        self._stage, self._stage_began, self._figures = name, self.clock(), {}
        heading = name.replace("_", " ")
        elapsed = duration(self._stage_began - self.began)
        gap = " " * max(2, self.width - cell_len(heading) - len(elapsed))
        self.console.print(Text.assemble((heading, "bold cyan"), gap, (elapsed, "dim")))
        yield
        took = Text.assemble("  ", ("done", "green"), f" in {duration(self.clock() - self._stage_began)}")
        self._print(_with_figures(took, self._figures, self.width))
        self._stage = None

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Generator[Task]:
        """A live line while the work lasts; without a terminal, a plain line now and then."""
        task = _Task(self, "" if name == self._stage else plain(name), total, unit)
        self._tasks.append(task)
        try:
            yield task
        finally:
            self._tasks.remove(task)
            self._figures = dict(task.figures)

    def say(self, text: str) -> None:
        """One line, indented below its stage's heading."""
        line = plain(text)
        # A stage may begin with its own name, which the heading has just said.
        if self._stage:
            line = line.removeprefix(f"{self._stage}: ")
        self._print_wrapped(Text(line), "  ")

    def sample(self, step: int, prompt: str, text: str) -> None:
        """One or two dim lines with what the model wrote."""
        shown = Text.assemble((f"step {step:,}  ", "dim"), (plain(prompt), "dim bold"), (_glue(text), "dim"))
        shown.append(plain(text), "dim")
        indent = "  "
        lines = list(shown.wrap(self.console, self.width - len(indent)))
        if len(lines) > 2:
            lines = lines[:2]
            lines[1].truncate(self.width - len(indent) - 1)
            lines[1].append("…", "dim")
        for line in lines:
            line.rstrip()
            self._print(Text(indent) + line)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is live now: the stage's time and its work's bars."""
        elapsed = duration(self.clock() - self._stage_began) if self._stage else ""
        if self._tasks:
            for task in self._tasks:
                yield task.bar(min(options.max_width, WIDEST), elapsed)
        elif self._stage:
            yield Text(f"  {elapsed}", "dim")

    def moved(self, task: _Task) -> None:
        """A task has news; only plain output prints it, the live line draws itself."""
        if self.console.is_terminal:
            return
        now = self.clock()
        if now - task.shown >= PLAIN_SECONDS:
            task.shown = now
            self._print(task.line())

    def _print(self, text: Text) -> None:
        self.console.print(text, no_wrap=True, overflow="ignore", crop=False)

    def _print_wrapped(self, text: Text, indent: str) -> None:
        for line in text.wrap(self.console, max(20, self.width - len(indent))):
            line.rstrip()
            self._print(Text(indent) + line)


class _Task:
    """One piece of work and its line."""

    def __init__(self, progress: TerminalProgress, name: str, total: int | None, unit: str) -> None:
        self.progress = progress
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.figures: dict[str, float | str] = {}
        self.shown = progress.clock()
        self._past: deque[tuple[float, int]] = deque()

    def update(self, done: int, **figures: float | str) -> None:
        """See `cutaway.runs.Task`. Figures given once stay until they are given again."""
        now = self.progress.clock()
        self.done = done
        self.figures.update(figures)
        self._past.append((now, done))
        # The first update tells where a resumed task stands, not how fast it goes; keep a stretch of the latest ones.
        while len(self._past) > 2 and now - self._past[1][0] > SPEED_SECONDS:
            self._past.popleft()
        self.progress.moved(self)

    def speed(self) -> float | None:
        """Units a second of late, as far as can be told."""
        if len(self._past) < 2:
            return None
        (then, before), (last, now) = self._past[0], self._past[-1]
        return (now - before) / (last - then) if now > before and last > then else None

    def left(self) -> float | None:
        """Seconds until it is done, as far as can be told."""
        speed = self.speed()
        if self.total is None or speed is None:
            return None
        return max(0.0, (self.total - self.done) / speed - (self.progress.clock() - self._past[-1][0]))

    def count(self) -> str:
        """How much is done, as a person reads it; of bytes also how fast."""
        if self.unit != "bytes":
            return f"{self.done:,}{f'/{self.total:,}' if self.total else ''} {self.unit}"
        speed = self.speed()
        of = f" of {size(self.total)}" if self.total else ""
        return f"{size(self.done)}{of}" + (f"  {size(speed)}/s" if speed else "")

    def bar(self, width: int, elapsed: str) -> Text:
        """The live line: time, bar, share, figures as far as there is room, time left."""
        start = Text(f"  {elapsed}  " if elapsed else "  ", "dim")
        if self.name:
            start.append(f"{self.name}  ", "default")
        if not self.total:
            return _with_figures(start.append(self.count(), "default"), self.figures, width)
        share = min(1.0, self.done / self.total)
        left = self.left()
        end = f"  {duration(left)} left" if left is not None else ""
        room = width - start.cell_len - len(" 100%") - len(end)
        # Bytes are counted in the open: how large a download is, and how fast, decides whether to wait for it.
        counted = Text(f"  {self.count()}") if self.unit == "bytes" else Text()
        if counted.cell_len > room - NARROWEST_BAR:
            counted = Text()
        figures = _with_figures(counted, self.figures, room - NARROWEST_BAR)
        # The figures come first, the bar takes the rest; but a bar across a wide screen says no more than half a one.
        bar = _bar(share, max(1, min(24, room - figures.cell_len)))
        return start + bar + Text(f" {share:4.0%}") + figures + Text(end, "dim")

    def line(self) -> Text:
        """The plain line."""
        text = Text(f"  {self.name}  " if self.name else "  ")
        if self.total:
            text.append(f"{min(1.0, self.done / self.total):.0%}  ")
        text = _with_figures(text.append(self.count()), self.figures, 10_000)
        left = self.left()
        return text.append(f"  {duration(left)} left") if left is not None else text


def duration(seconds: float) -> str:
    """Seconds as a clock shows them: 0:07, 12:30, 1:02:03."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def figure(name: str, value: float | str) -> str:
    """One figure as a person reads it."""
    if isinstance(value, str):
        return f"{name} {plain(value)}"
    match name:
        case "tok_s":
            return f"{value:,.0f} tok/s"
        case "documents_s":
            return f"{value:,.0f}/s"
        case "mfu":
            return f"mfu {value:.0%}"
        case "bpb" | "val_bpb":
            return f"bpb {value:.3f}"
        case "accuracy" | "share":
            return f"{name} {value:.1%}"
        case _ if float(value).is_integer() and abs(value) < 1e15:
            return f"{name} {value:,.0f}"
        case _:
            return f"{name} {value:.3g}" if abs(value) < 0.01 or abs(value) >= 1e5 else f"{name} {value:.3f}"


FIRST_FIGURES = ("loss", "bpb", "val_bpb", "reward", "accuracy", "tok_s", "mfu")
"""The figures that matter most, in order; the others follow as they were given."""


def _importance(figure: tuple[str, float | str]) -> int:
    return FIRST_FIGURES.index(figure[0]) if figure[0] in FIRST_FIGURES else len(FIRST_FIGURES)


def _with_figures(line: Text, figures: dict[str, float | str], width: int) -> Text:
    """`line` with as many figures as fit into `width` columns."""
    for name, value in sorted(figures.items(), key=_importance):
        shown = figure(name, value)
        if line.cell_len + 2 + cell_len(shown) > width:
            break
        line = line + Text(f"  {shown}")
    return line


def _bar(share: float, width: int) -> Text:
    halves = round(share * width * 2)
    full, half = divmod(halves, 2)
    bar = Text("━" * full + "╸" * half, "cyan")
    return bar.append("━" * (width - full - half), "bright_black")


def _glue(text: str) -> str:
    """What stands between a prompt and its continuation once white space is folded."""
    return " " if text[:1].isspace() else ""
