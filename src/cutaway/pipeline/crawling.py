"""A corpus of the web as a run: a crawl through the pipeline's steps, and what the funnel shows of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cutaway.corpus.crawl import CORPUS, STATS, WORK, build_crawl
from cutaway.corpus.crawl_settings import CrawlSettings, Followed, followed
from cutaway.corpus.segments import read_segment
from cutaway.pipeline.crawl_report import write_crawl_report
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.runs import BadInput, Progress, Settings
from cutaway.tokens import Tokenizer

AT_ONCE = 256
"""Documents that are encoded at once."""


class CrawlReportSettings(Settings):
    """What the report shows beside the funnel."""

    tokenizer: str = ""
    """A directory with a tokenizer.json, or a run: the corpus's tokens are counted with it. Empty: they are not."""


class CrawlRecipe(Settings):
    """A crawl, a folder of pages or a dump, and what becomes of it."""

    kind: Literal["corpus"] = "corpus"
    """Tells this recipe from those of other kinds."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Every run has one; nothing in this one is drawn by chance."""
    corpus: CrawlSettings = CrawlSettings()
    report: CrawlReportSettings = CrawlReportSettings()


def _corpus(context: StageContext[Followed]) -> None:
    build_crawl(context.settings, context.directory, context.progress)


def _report(context: StageContext[CrawlReportSettings]) -> None:
    corpus = context.run.stage("corpus")
    tokens = None
    if context.settings.tokenizer:
        tokens = count_tokens(_tokenizer(context.settings.tokenizer), corpus, context.progress)
    write_crawl_report(context.run, tokens)
    context.progress.say(f"the report is {context.directory / 'report.html'}")


def _tokenizer(name: str) -> Tokenizer:
    path = Path(name)
    for folder in (path, path / "tokenizer"):
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.load(folder)
    raise BadInput(f"report.tokenizer is {name}, where there is no tokenizer.json; name a directory that holds one")


def count_tokens(tokenizer: Tokenizer, corpus: Path, progress: Progress) -> dict[str, Any]:
    """How many tokens the documents of a corpus have: in all, and documents by the power of two below theirs."""
    powers: Counter[int] = Counter()
    total = done = 0
    files = sorted(corpus.glob(CORPUS))
    with progress.task("tokens", total=sum(file.stat().st_size for file in files), unit="bytes") as task:
        for file in files:
            waiting: list[str] = []
            for page in read_segment(file):
                waiting.append(page.text)
                if len(waiting) == AT_ONCE:
                    total += _count(tokenizer, waiting, powers)
            total += _count(tokenizer, waiting, powers)
            done += file.stat().st_size
            task.update(done, tokens=total)
    return {"tokens": total, "lengths": {str(power): powers[power] for power in sorted(powers)}}


def _count(tokenizer: Tokenizer, texts: list[str], powers: Counter[int]) -> int:
    """The tokens of some texts, which the list then holds no more."""
    lengths = [len(ids) for ids in tokenizer.encode_batch(texts)]
    powers.update(max(0, length.bit_length() - 1) for length in lengths)
    texts.clear()
    return sum(lengths)


CRAWLING: tuple[Stage[Any], ...] = (
    Stage(
        name="corpus",
        verb="corpus",
        function=_corpus,
        settings=lambda recipe: followed(recipe.corpus),
        outputs=(CORPUS, STATS),
        scratch=(WORK,),
        uses=(),
        costly=True,
    ),
    Stage(
        name="report",
        verb="corpus",
        function=_report,
        settings=lambda recipe: recipe.report,
        inputs=("corpus",),
        outputs=("report.json", "report.md", "report.html"),
        uses=(),
        place=".",
    ),
)
