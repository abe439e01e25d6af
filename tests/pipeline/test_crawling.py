"""A crawl as a run, by the command line: the report, what is not done twice, and what stops it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("datatrove", reason="the web pipeline's extra is not installed")

import pyarrow.parquet as pq

from cutaway.cli.main import run_command
from cutaway.corpus.built_in import built_in_documents
from cutaway.runs import RunDirectory

SIMPLE = [
    f"corpus.{step}.splitter=simple" for step in ("gopher_repetition", "gopher_quality", "fineweb", "minhash")
] + ["corpus.c4=false", "corpus.executor.workers=1"]
PAGES = 14
HOSTILE = "<script>alert(1)</script> \x1b[31m [bold]casino[/] & win "


def page(number: int, paragraphs: str) -> str:
    menu = "".join(f"<li><a href='/{n}'>Menu {n}</a></li>" for n in range(9))
    head = f"<html><head><title>{number}</title></head><body><nav><ul>{menu}</ul></nav>"
    return f"{head}<main>{paragraphs}</main></body></html>"


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of English, one of them twice, one in German, one of spam with markup in it, and a file that is no page."""
    folder = tmp_path_factory.mktemp("crawl")
    texts = [d.text for _, d in zip(range(PAGES), built_in_documents(("bbe",)), strict=False)]
    for number, text in enumerate(texts):
        paragraphs = "".join(f"<p>{part}</p>" for part in text.split("\n\n"))
        (folder / f"page-{number:02d}.html").write_text(page(number, paragraphs))
    (folder / "page-90.html").write_text((folder / "page-12.html").read_text())
    german = "Der Rat der Stadt begann am Abend mit einer langen Aussprache über die neue Straße am alten Viertel. " * 9
    (folder / "page-91.html").write_text(page(91, f"<p>{german}</p>"))
    spam = HOSTILE.replace("&", "&amp;").replace("<", "&lt;") * 60
    (folder / "page-92.html").write_text(page(92, f"<p>{spam}</p>"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing more")
    return folder


def sets(*others: str) -> list[str]:
    return [part for one in (*SIMPLE, *others) for part in ("--set", one)]


@pytest.fixture(scope="module")
def run(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "web"
    assert run_command(["corpus", "build", str(crawl), "--out", str(place), *sets()]) == 0
    return place


def test_the_report(run: Path) -> None:
    report = json.loads((run / "report.json").read_bytes())
    assert report["steps"]["read"]["documents_in"] == PAGES + 4
    assert report["languages"]["de"] == [1, 0, 0]
    assert report["languages"]["en"][1] == report["documents"] >= PAGES - 5
    assert report["removed"]["minhash"]["near_duplicate"]["documents"] == 1
    assert report["clusters"]["to_read"][0]["size"] == 2
    assert {page["id"].rpartition("/")[2] for page in report["clusters"]["to_read"][0]["pages"]} >= {
        "page-90.html"
    } or (len(report["clusters"]["to_read"][0]["pages"]) == 2)
    assert sum(one["documents"] for one in report["skipped"].values()) == 1
    results = {row["metric"]: row["value"] for row in report["results"]}
    assert results["documents_kept"] == report["documents"]
    assert 0 < results["passed/language"] < 1
    markdown = (run / "report.md").read_text()
    assert f"Of {PAGES + 4} pages in {PAGES + 4} files" in markdown
    assert "| Language |" in markdown


def test_the_page_holds_what_pages_said_as_text(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.count("<svg") >= 3
    assert "<script" not in page
    assert "\x1b" not in page
    assert "near duplicates" in page.lower()
    assert "alert(1)" in page, "the spam is among the samples"


def test_the_page_says_which_file_could_not_be_read_and_compares_rules_in_one_table(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert re.search(r'<th class="text">Such as</th>.*<td class="text where">[^<]*broken\.pdf[^<]*</td>', page)
    assert page.count("<th>Rule</th>") == 1
    assert "<small>Near duplicates</small>" in page


def test_every_figure_of_the_funnel_is_what_the_files_hold(run: Path) -> None:
    stats = json.loads((run / "corpus" / "stats.json").read_bytes())
    tables = [pq.read_table(path) for path in sorted((run / "corpus").glob("train-*.parquet"))]
    texts = [text for table in tables for text in table.column("text").to_pylist()]
    assert tables[0].column_names[:3] == ["id", "source", "text"]
    assert (stats["documents"], stats["bytes"]) == (len(texts), sum(len(text.encode()) for text in texts))
    assert sum(stats["lengths"].values()) == len(texts)
    assert not (run / "corpus" / ".work").exists(), "what only a killed run needs is gone"


def test_stats_in_the_terminal(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["corpus", "stats", str(run)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "near_duplicate" in shown
    assert re.search(r"^language +\d+ +\d+", shown, re.MULTILINE)
    assert "\x1b" not in shown
    assert run_command(["corpus", "stats", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "corpus"


def test_the_same_command_does_nothing_twice(run: Path, crawl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "corpus").iterdir()}
    # Where and on how many processes it runs makes no difference.
    others = sets("corpus.executor.workers=2", "corpus.executor.tasks=3")
    assert run_command(["corpus", "build", str(crawl), "--out", str(run), *others]) == 0
    assert "finished earlier, unchanged: corpus" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (run / "corpus").iterdir()} == before


def test_other_settings_or_inputs_ask_before_anything_is_lost(
    run: Path, crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["corpus", "build", str(crawl), "--out", str(run), *sets("corpus.pii=false")]
    assert run_command(other) == 2
    assert "would be lost" in " ".join(capsys.readouterr().err.split())
    extra = crawl / "page-99.html"
    extra.write_text(page(99, "<p>late</p>"))
    try:
        assert run_command(["corpus", "build", str(crawl), "--out", str(run), *sets()]) == 2
        assert "--again" in " ".join(capsys.readouterr().err.split())
    finally:
        extra.unlink()


def test_two_processes_on_one_run(run: Path, crawl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunDirectory(run).lock():
        assert run_command(["corpus", "build", str(crawl), "--out", str(run), *sets()]) == 2
    assert "is in use by process" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["corpus", "build", "{nowhere}/pages"], "does not exist"),
        (["corpus", "build", "{crawl}", "--set", "corpus.c4.min_sentence=3"], "did you mean corpus.c4.min_sentences?"),
        (["corpus", "build", "{crawl}", "--set", "corpus.minhash.buckets=0"], "should be at least 1"),
        (["corpus", "build", "{crawl}", "--text", "{crawl}"], "--text is for recipes of another kind"),
        (["corpus", "build", "no-such"], "no file or folder no-such, and there is no recipe no-such; give a path"),
        (["corpus", "stats", "{nowhere}"], "has no corpus yet"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    crawl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    given = [one.format(crawl=crawl, nowhere=tmp_path / "nowhere") for one in arguments]
    if given[1] == "build":
        given += ["--out", str(tmp_path / "run")]
    assert run_command(given) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_empty_corpus_says_what_took_its_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.txt").write_text("Too short to be a page of prose.")
    (tmp_path / "rows.jsonl").write_text('{"text": 3}\n{"broken\n')
    run = tmp_path / "run"
    assert run_command(["corpus", "build", str(tmp_path / "page.txt"), "--out", str(run), *sets()]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "1 file, 0.0 MB, in 1 part " in told
    assert "0 documents of 1 page, 0.0 MB of text nothing is left: the step language took most, 1 page" in told
    assert run_command(["corpus", "index", str(run), "--tokenizer", str(run)]) == 2
    assert "holds no document; cutaway corpus stats" in " ".join(capsys.readouterr().err.split())
    unread = tmp_path / "unread"
    assert run_command(["corpus", "build", str(tmp_path / "rows.jsonl"), "--out", str(unread), *sets()]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "nothing is left: of 2 records that could not be read most had this: " in told
    assert "(rows.jsonl/" in told
    assert run_command(["corpus", "stats", str(unread)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    said = " ".join(" ".join(lines).split())
    assert 'its "text" is no string but of the kind int 1 rows.jsonl/0' in said
    assert "…" not in said[said.index("could not be read") :]
