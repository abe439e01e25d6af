"""The report shows what is there, leaves out what is not, and lets no text become markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest

from cutaway.evals.report import write_report
from cutaway.runs import BadInput, MetricsLog, Result, RunDirectory, read_results, write_results

MakeRun = Callable[..., RunDirectory]
VOID = {"meta", "br", "line", "path", "circle"}


@dataclass(frozen=True)
class Page:
    """The tags of a page in order, its addresses, and its text as a reader sees it."""

    tags: list[str]
    addresses: list[str]
    text: str


def page_of(run: RunDirectory) -> Page:
    """Take the page apart. Everything that is not one of our tags is escaped, so `<` always begins a tag."""
    source = (run.path / "report.html").read_text(encoding="utf-8").removeprefix("<!doctype html>")
    tags: list[str] = []
    addresses: list[str] = []
    still_open: list[str] = []
    for closing, tag, attributes in re.findall(r"<(/?)([a-z][a-z0-9]*)([^<>]*)>", source):
        if closing:
            assert still_open.pop() == tag
            continue
        tags.append(tag)
        names = re.findall(r"""([a-zA-Z-]+)=(?:"[^"]*"|[^\s"]+)""", attributes)
        assert not any(name.startswith("on") for name in names)
        addresses += [name for name in names if name in ("src", "href", "action")]
        if tag not in VOID:
            still_open.append(tag)
    assert still_open == []
    style = re.compile(r"<style>.*?</style>", re.DOTALL)
    text = re.sub(r"<[^<>]*>", "", style.sub("", source))
    assert "<" not in text
    return Page(tags, addresses, unescape(text))


def test_report_of_a_finished_run(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "demo")
    write_report(run)
    results = read_results(run.path / "report.json")
    assert {result.stage for result in results} == {"pretrain", "sft", "rl", "baseline", "run"}
    whole = json.loads((run.path / "report.json").read_text(encoding="utf-8"))
    passed = {check["name"]: check["passed"] for check in whole["checks"]}
    assert passed["The whole run"] is True
    assert whole["parameters"]["Embedding"] == 4096 * 192

    page = page_of(run)
    figures = ("93.4%", "91–95", "+22.9 points", "1.279", "12 min 50 s", "world facts 39%")
    names = ("What demo learned", "King James Version", "Training loss", "Learning rate", "Mean reward")
    for words in (*figures, *names, "the sons of Levi", "Mira Dolven"):
        assert words in page.text, words
    assert page.tags.count("svg") > 20


def test_the_page_stands_alone_and_runs_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "demo")
    write_report(run)
    page = page_of(run)
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(page.tags)
    text = (run.path / "report.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text
    # What the sample run's model wrote: a tag, a control character, half an emoji.
    assert "<script>alert(1)</script>" in page.text
    assert "<b>of</b>" in page.text
    assert "\x1b" not in text
    markdown = (run.path / "report.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown
    assert "\x1b" not in markdown


def test_markdown_tables_have_one_width(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "demo")
    MetricsLog(run.stage("pretrain") / "samples.jsonl").append(
        {"step": 61, "prompt": "a | b", "text": "\n|x|\r\n## no"}
    )
    write_report(run)
    blocks = (run.path / "report.md").read_text(encoding="utf-8").split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_run_that_has_only_begun_has_a_report(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "new & <old>")
    run.path.mkdir()
    write_report(run)
    assert read_results(run.path / "report.json") == []
    page = page_of(run)
    assert "What new & <old> learned" in page.text
    assert "section" not in page.tags

    log = MetricsLog(run.stage("pretrain") / "metrics.jsonl")
    log.append({"step": 1, "tokens": 10, "loss": float("nan")})
    log.append({"step": 2, "tokens": 20, "loss": 3.0})
    log.append({"step": 3, "tokens": 30, "loss": 2.0, "val_bpb": 2.5})
    write_results(run.stage("pretrain") / "evals.json", [Result("pretrain", "mine", float("nan"), "share", 0, 1, True)])
    write_report(run)
    assert "Pretraining" in page_of(run).text


def test_damaged_results_are_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft" / "evals.json").write_text("[]", encoding="utf-8")
    with pytest.raises(BadInput, match=r"evals\.json"):
        write_report(run)


def test_fine_tuning_without_refusals_has_a_table_of_its_own(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "demo")
    made_up = Result("sft_without_refusals", "made_up_fresh", 0.97, "share", 200, 1, higher_is_better=False)
    write_results(run.stage("sft_without_refusals") / "evals.json", [made_up])
    write_report(run)
    text = page_of(run).text
    assert "What refusals change" in text
    assert "97.0%" in text
