"""The settings of a crawl: its inputs, and every step as a section that can be switched off by `= false`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, WrapSerializer

from cutaway.corpus.executors import ExecutorSettings
from cutaway.corpus.funnel import READ
from cutaway.corpus.page import Step
from cutaway.corpus.parts import Input, fingerprint, list_inputs
from cutaway.corpus.steps.c4 import C4Filter, C4Settings
from cutaway.corpus.steps.decontamination import Decontamination, DecontaminationSettings, benchmark_files
from cutaway.corpus.steps.extraction import Extraction, ExtractionSettings
from cutaway.corpus.steps.fineweb import FineWebFilter, FineWebSettings
from cutaway.corpus.steps.gopher_quality import GopherQualityFilter, GopherQualitySettings
from cutaway.corpus.steps.gopher_repetition import GopherRepetitionFilter, GopherRepetitionSettings
from cutaway.corpus.steps.language import LanguageFilter, LanguageSettings
from cutaway.corpus.steps.minhash import MinHashSettings, Signatures
from cutaway.corpus.steps.pii import PiiMask, PiiSettings
from cutaway.corpus.steps.quality import QualityFilter, QualitySettings
from cutaway.corpus.steps.repeated_lines import RepeatedLines, RepeatedLinesSettings
from cutaway.corpus.steps.url_filter import UrlFilter, UrlFilterSettings
from cutaway.runs import Settings
from cutaway.runs.errors import BadInput

S = TypeVar("S", bound=Settings)
Section = Annotated[
    S | None,
    BeforeValidator(lambda given: None if given is False else given),
    WrapSerializer(lambda held, serialize: False if held is None else serialize(held)),
]
"""A step's section; in a recipe `false` where the step is switched off."""


class CrawlSettings(Settings):
    """What is read, which steps it goes through, and where the work is done."""

    BOOKKEEPING: ClassVar[frozenset[str]] = frozenset(("executor",))
    """Does not show in what comes out."""

    inputs: tuple[str, ...] = ()
    """Files and folders: WARC and WET, HTML, Wikipedia dumps, text, Markdown, JSONL, Parquet, PDF, DOCX, URLs."""
    url_filter: Section[UrlFilterSettings] = UrlFilterSettings.model_validate({})
    extraction: Section[ExtractionSettings] = ExtractionSettings.model_validate({})
    language: Section[LanguageSettings] = LanguageSettings.model_validate({})
    gopher_repetition: Section[GopherRepetitionSettings] = GopherRepetitionSettings()
    gopher_quality: Section[GopherQualitySettings] = GopherQualitySettings()
    c4: Section[C4Settings] = C4Settings()
    fineweb: Section[FineWebSettings] = FineWebSettings()
    quality: Section[QualitySettings] = QualitySettings()
    minhash: Section[MinHashSettings] = MinHashSettings()
    repeated_lines: Section[RepeatedLinesSettings] = RepeatedLinesSettings()
    pii: Section[PiiSettings] = PiiSettings()
    decontamination: Section[DecontaminationSettings] = DecontaminationSettings()
    executor: ExecutorSettings = ExecutorSettings()


class Followed(CrawlSettings):
    """The settings together with the state of the files that they name, so that a change there is noticed."""

    state: str = ""
    """A hash of the files' names, sizes and times."""


def followed(settings: CrawlSettings) -> Followed:
    """The settings with the state of their files. Raises `BadInput` if one is missing, or there is nothing to read."""
    files = list_inputs(settings.inputs) + [Input.of(str(path), path) for path in _side_files(settings)]
    return Followed.model_construct(**dict(settings), state=fingerprint(files))


def _side_files(settings: CrawlSettings) -> list[Path]:
    """What steps read beside the pages."""
    files: list[Path] = []
    if urls := _urls(settings):
        files += [Path(name) for name in (*urls.block_lists, *_word_lists(urls)) if name]
    if (quality := _quality(settings)) and quality.model:
        files.append(Path(quality.model))
    if benchmarks := _benchmarks(settings):
        files += benchmark_files(benchmarks.benchmarks)
    return files


def _word_lists(settings: UrlFilterSettings) -> tuple[str | None, ...]:
    return settings.banned_words, settings.soft_banned_words, settings.banned_subwords


def _urls(settings: CrawlSettings) -> UrlFilterSettings | None:
    """None without a list, for then there is nothing to look for; and so for the others that need something given."""
    given = settings.url_filter
    return given if given and (given.block_lists or any(_word_lists(given))) else None


def _quality(settings: CrawlSettings) -> QualitySettings | None:
    given = settings.quality
    return given if given and (given.scorer or given.model) else None


def _benchmarks(settings: CrawlSettings) -> DecontaminationSettings | None:
    given = settings.decontamination
    return given if given and given.benchmarks else None


Chain = tuple[tuple[Any, Callable[[CrawlSettings], Settings | None]], ...]
"""Steps in their order, each with where its settings are; None where it is switched off or has nothing to do."""

PAGE_STEPS: Chain = (
    (UrlFilter, _urls),
    (Extraction, lambda settings: settings.extraction),
    (LanguageFilter, lambda settings: settings.language),
    (GopherRepetitionFilter, lambda settings: settings.gopher_repetition),
    (GopherQualityFilter, lambda settings: settings.gopher_quality),
    (C4Filter, lambda settings: settings.c4),
    (FineWebFilter, lambda settings: settings.fineweb),
    (QualityFilter, _quality),
)
"""What looks at one page alone, in FineWeb's order."""

COMPARISONS: Chain = (
    (Signatures, lambda settings: settings.minhash),
    (RepeatedLines, lambda settings: settings.repeated_lines),
)
"""What compares each page with all others."""

DOCUMENT_STEPS: Chain = (
    (PiiMask, lambda settings: settings.pii),
    (Decontamination, _benchmarks),
)
"""What looks at the pages that are left."""


def made(settings: CrawlSettings, chain: Chain) -> list[Step]:
    """Those of the steps that are switched on, ready to be called. Raises `BadInput` for what they cannot work with."""
    return [step(section) for step, of in chain if (section := of(settings)) is not None]


def names_of_steps(settings: CrawlSettings) -> list[str]:
    """All steps that are switched on, in the order in which pages meet them."""
    chain = (*PAGE_STEPS, *COMPARISONS, *DOCUMENT_STEPS)
    return [READ, *(step.name for step, of in chain if of(settings) is not None)]


def check(settings: CrawlSettings) -> None:
    """Raise `BadInput`, before any work begins, where a library is missing or the last steps could not do theirs.

    What the first steps lack, the first task says at once.
    """
    if find_spec("datatrove") is None:
        raise BadInput("the web pipeline needs packages that are not installed: pip install 'cutaway[corpus]'")
    made(settings, DOCUMENT_STEPS)
