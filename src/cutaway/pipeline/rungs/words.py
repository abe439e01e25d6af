"""Rung 8: word vectors, and what their geometry knows."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from cutaway.corpus import read_documents
from cutaway.corpus.built_in import built_in_documents
from cutaway.evals.charts import Chart, Series, draw
from cutaway.evals.markdown import markdown_table
from cutaway.evals.measures import duration
from cutaway.evals.plates import scatter
from cutaway.ladder.word_geometry import DRAWN, Question, Ranks
from cutaway.ladder.word_lists import ANALOGIES, GENDER, questions_of, read_questions, read_ratings
from cutaway.ladder.word_vectors import Kind, Lesson, WordVectors, WordVectorSettings, train_word_vectors
from cutaway.ladder.word_windows import Text, read_text
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.rungs.word_answers import FREQUENT, PLANE, Answers, ask, askable
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, Result

ARCHIVES = (".tar", ".tar.xz", ".tar.gz", ".tar.bz2", ".tgz")
DIRECTIONS = """## Directions

The mean way from the first word of a pair to the second. Where a pair is left out, its second word lies farther along
the way of the others than its first in so many cases:"""
LONGEST_PASSAGE = 20_000
"""Characters of a passage in an archive, for files without blank lines."""


class WordsSettings(WordVectorSettings):
    """What to read, how to learn, and what to ask."""

    epochs: int = Field(default=8, ge=1, description="times that the text is read")
    data: Path | None = None
    """A text, a folder of texts, or a tar archive of them (.tar.xz), which is read as it is unpacked. Without it, two
    Bibles and Python's own reference."""
    vectors: Path | None = None
    """Word vectors in word2vec's text format that are asked, instead of learning any."""
    kinds: tuple[Kind, ...] = Field(default=("skip-gram", "cbow"), min_length=1)
    """The models to train."""
    analogies: Path | None = None
    """A file like word2vec's questions-words.txt, asked instead of our own list."""
    similarity: tuple[Path, ...] = ()
    """Files with two words and people's rating of how alike they are on each line, between tabs."""
    show: tuple[str, ...] = ("king", "river", "bread", "angry", "seven", "function")
    """Words whose neighbours are shown."""


def climb(context: StageContext[WordsSettings]) -> Found:
    """Learn word vectors from a text, and ask them."""
    settings, progress = context.settings, context.progress
    rated = {path.stem: read_ratings(path) for path in settings.similarity}
    lessons, vectors = dict[str, Lesson](), dict[str, WordVectors]()
    if settings.vectors:
        given = WordVectors.read(settings.vectors)
        told = f"{len(given.words):,} vectors of {given.vectors.shape[1]} numbers from {settings.vectors.name}."
        sections = _sections(settings.analogies, given.number)
        vectors[settings.vectors.stem] = given
    else:
        text = read_text(passages_of(settings.data), settings.min_count)
        told = _told(text, settings)
        progress.say(told)
        sections = _sections(settings.analogies, set(text.words))
        for kind in dict.fromkeys(settings.kinds):
            lessons[kind] = train_word_vectors(text, kind, settings, context.seed, progress)
            vectors[kind] = lessons[kind].vectors
            vectors[kind].save(context.directory / "model" / f"{kind}.txt")
    asked = {name: ask(each, sections, rated, settings.show, context.seed) for name, each in vectors.items()}
    pictures = {"loss": _loss_picture(lessons), "plane": _plane_picture(asked)}
    pictures = {name: picture for name, picture in pictures.items() if picture}
    return Found(
        [result for name, answers in asked.items() for result in _results(name, answers, context.seed)],
        [line for name, answers in asked.items() for line in _said(name, answers)],
        _report(told, lessons, asked, pictures),
        pictures,
        {
            "losses": {kind: lesson.losses for kind, lesson in lessons.items()},
            "answers": {
                name: {
                    "plane": answers.plane,
                    "neighbours": answers.near,
                    "associations": {test: asdict(found) for test, found in answers.associations.items()},
                }
                for name, answers in asked.items()
            },
        },
    )


def _sections(path: Path | None, words: Mapping[str, int] | set[str]) -> dict[str, list[Question]]:
    """The analogies whose words are all known. Raises `BadInput` if a file is given and has none such."""
    own = {name: questions_of(pairs) for name, pairs in ANALOGIES.items()}
    sections = askable(read_questions(path) if path else own, words)
    if path and not sections:
        raise BadInput(f"no analogy of {path} has only words of the text; give more text, or other analogies")
    return sections


def passages_of(path: Path | None) -> Iterator[str]:
    """The paragraphs of a text, of a folder of texts, or of an archive of them; without a path, of the packages' texts.

    Raises:
        BadInput: while iterating: nothing is there, or it cannot be read as text.
    """
    if path is not None and path.name.lower().endswith(ARCHIVES):
        yield from _paragraphs(_lines_in_archive(path))
        return
    for document in built_in_documents() if path is None else read_documents(path):
        yield from document.text.split("\n\n")


def _lines_in_archive(path: Path) -> Iterator[str]:
    name = ""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.lower().endswith(".txt") else None
                if file:
                    name = member.name
                    # A wrapper that decodes would ask whether the stream can be wound back, which it cannot.
                    yield from (line.decode("utf-8") for line in file)
                    yield ""
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} in {path} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadInput(f"{path} cannot be read as an archive ({reason}); give a tar archive of .txt files") from None
    if not name:
        raise BadInput(f"{path} holds no .txt file; give a tar archive of them")


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    gathered, length = list[str](), 0
    for line in lines:
        if not line.strip() or length > LONGEST_PASSAGE:
            yield " ".join(gathered)
            gathered, length = [], 0
        gathered.append(line)
        length += len(line)
    yield " ".join(gathered)


def _told(text: Text, settings: WordsSettings) -> str:
    source = settings.data.name if settings.data else "two Bibles and Python's reference"
    return (
        f"{len(text.ids):,} words of {source}; {len(text.words):,} different ones occur {settings.min_count} times or "
        "more."
    )


def _share(hits: Any) -> float:
    return float(np.mean(hits))


def _results(name: str, answers: Answers, seed: int) -> Iterator[Result]:
    def result(metric: str, value: float, unit: str, n: int, *, higher: bool = True) -> Result:
        return Result("words", f"{metric}/{name}", value, unit, n, seed, higher)

    if ranks := answers.all_ranks:
        n = len(ranks.among_all)
        yield result("analogies", _share(ranks.among_others == 1), "share", n)
        yield result("analogies_among_all", _share(ranks.among_all == 1), "share", n)
        yield result("analogies_by_neighbour", _share(ranks.by_neighbour == 1), "share", n)
        yield result("analogies_median_rank", float(np.median(ranks.among_others)), "rank", n, higher=False)
    for which, gained in answers.held_out.items():
        yield result(f"{which}_held_out", _share(np.array(gained) > 0), "share", len(gained))
    for file, (correlation, n) in answers.rated.items():
        yield result(f"spearman_{file}", correlation, "correlation", n)
    for number, found in enumerate(answers.associations.values(), 1):
        yield result(f"weat_{number}", found.effect, "standard deviations", found.ways)


def _said(name: str, answers: Answers) -> Iterator[str]:
    if ranks := answers.all_ranks:
        yield (
            f"{name}: {_share(ranks.among_others == 1):.1%} of {len(ranks.among_all):,} analogies right "
            f"({_share(ranks.among_all == 1):.1%} with the question's own words among the answers, "
            f"{_share(ranks.by_neighbour == 1):.1%} by nearness alone), median rank {np.median(ranks.among_others):.0f}"
        )
    for test, found in list(answers.associations.items())[:1]:
        yield f"{name}: {test}: effect {found.effect:.2f}, p {_chance(found.p)}"


def _loss_picture(lessons: Mapping[str, Lesson]) -> str:
    series = [
        Series(kind, [(100 * done, loss) for done, loss in _smoothed(lesson.losses)], ink)
        for (kind, lesson), ink in zip(lessons.items(), "ab", strict=False)
    ]
    return draw(Chart("Loss in training, nats a riddle", series, "% of the training"))


def _smoothed(losses: Sequence[tuple[float, float]], most: int = 60) -> list[tuple[float, float]]:
    """The means of looks side by side, at most `most` of them."""
    parts = np.array_split(np.array(losses), min(most, len(losses)))
    return [(float(part[:, 0].mean()), float(part[:, 1].mean())) for part in parts]


def _plane_picture(asked: Mapping[str, Answers]) -> str:
    """Of the first model alone."""
    plane = next(iter(asked.values())).plane
    return scatter(
        plane,
        "Words by gender and number",
        x_title="from male to female",
        y_title="from one to several",
        arrows=[pair for pair in PLANE if plane.keys() >= set(pair)],
        marked=[word for _, word in GENDER],
    ) if plane else ""  # fmt: skip


def _report(told: str, lessons: Mapping[str, Lesson], asked: Mapping[str, Answers], pictures: Mapping[str, str]) -> str:
    times = "".join(f" {kind}: {duration(lesson.seconds)}." for kind, lesson in lessons.items())
    parts = [
        told + times,
        "![](loss.svg)" if "loss" in pictures else "",
        *(_analogy_tables(asked) if any(answers.ranks for answers in asked.values()) else ()),
        DIRECTIONS,
        markdown_table(
            ["", "pairs of gender", "pairs of number"],
            [[name, *(_held_out(answers, which) for which in ("gender", "number"))] for name, answers in asked.items()],
        ),
        "![](plane.svg)" if "plane" in pictures else "",
        f"Of the {FREQUENT:,} most frequent words, those farthest along that are in no pair:",
        markdown_table(
            ["", "towards male", "towards female"],
            [[name, *(", ".join(end) for end in answers.ends)] for name, answers in asked.items()],
            text_columns=3,
        ),
        *_similarity_table(asked),
        *_weat_table(asked),
        "## Neighbours",
        *(_neighbour_table(name, answers) for name, answers in asked.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def _analogy_tables(asked: Mapping[str, Answers]) -> Iterator[str]:
    yield (
        "## Analogies\n\na is to b as c is to …: the word nearest to b − a + c. *Right*, and the ranks, leave a, b and "
        "c out, as is usual; *among all* does not; *by nearness* takes the word nearest to c, and does no arithmetic."
    )
    head = ["asked", "right", "first five", "median rank", "mean 1/rank", "among all", "by nearness"]
    for name, answers in asked.items():
        rows = [[section, *_figures(ranks)] for section, ranks in answers.ranks.items()]
        if answers.all_ranks:
            rows.append(["all", *_figures(answers.all_ranks)])
        yield markdown_table([name, *head], rows)
    yield "The word nearest to b − a + c, when none is left out, is:"
    firsts = {name: answers.all_ranks.came_first for name, answers in asked.items() if answers.all_ranks}
    rows = [[name, *(f"{_share(first == i):.1%}" for i in range(5))] for name, first in firsts.items()]
    yield markdown_table(["", "a", "b", "c", "the right one", "another"], rows)


def _figures(ranks: Ranks) -> list[str]:
    others = ranks.among_others
    return [
        f"{len(others):,}",
        f"{_share(others == 1):.1%}",
        f"{_share(others <= 5):.1%}",
        f"{np.median(others):.0f}",
        f"{_share(1 / others):.3f}",
        f"{_share(ranks.among_all == 1):.1%}",
        f"{_share(ranks.by_neighbour == 1):.1%}",
    ]


def _held_out(answers: Answers, which: str) -> str:
    gained = answers.held_out.get(which)
    return f"{sum(value > 0 for value in gained)} of {len(gained)}" if gained else "—"


def _similarity_table(asked: Mapping[str, Answers]) -> Iterator[str]:
    rows = [
        [name, file, f"{correlation:.3f}", f"{n:,}"]
        for name, answers in asked.items()
        for file, (correlation, n) in answers.rated.items()
    ]
    if rows:
        yield "## Similarity\n\nSpearman's ρ of cosines with people's ratings of pairs of words:"
        yield markdown_table(["", "file", "ρ", "pairs"], rows, text_columns=2)


def _chance(p: float) -> str:
    """A share of the divisions that were drawn; that there was none among them does not make it nought."""
    return f"= {p:.2g}" if p else f"< {1 / DRAWN:g}"


def _weat_table(asked: Mapping[str, Answers]) -> Iterator[str]:
    rows = [
        [name, test, f"{found.effect:.2f}", _chance(found.p).removeprefix("= ")]
        for name, answers in asked.items()
        for test, found in answers.associations.items()
    ]
    if rows:
        yield (
            "## The bias of the text\n\nDo the first words go with the first attribute, and the second with the second "
            "(WEAT, Caliskan et al. 2017)? The effect is in standard deviations; p is the share of other divisions of "
            "the same words whose effect is larger."
        )
        yield markdown_table(["", "words and attributes", "effect", "p"], rows, text_columns=2)


def _neighbour_table(name: str, answers: Answers) -> str:
    rows = [[word, ", ".join(f"{other} {cosine:.2f}" for other, cosine in near)] for word, near in answers.near.items()]
    return markdown_table([name, "nearest, with their cosines"], rows, text_columns=2) if rows else ""


def _files(settings: WordsSettings) -> Iterable[Path]:
    return [path for path in (settings.data, settings.vectors, settings.analogies, *settings.similarity) if path]


RUNG = Rung("words", "Word vectors: skip-gram and CBOW", WordsSettings, climb, _files)
