"""The passes of a crawl: the same bytes however it ran and whoever killed it, and what stops it told in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("datatrove", reason="the web pipeline's extra is not installed")

from cutaway.corpus import crawl, read_documents
from cutaway.corpus.crawl_settings import CrawlSettings
from cutaway.corpus.executors import ExecutorSettings
from cutaway.corpus.segments import SegmentWriter, read_segment
from cutaway.runs import BadInput, CutawayError, SilentProgress

WORDS = "the be to of and that have with river mountain winter letter garden window bridge stone paper summer".split()
FILES, PAGES = 5, 12


def text_of(number: int) -> str:
    """Prose by chance: ten paragraphs, none like another's."""
    rng = random.Random(number)
    return "\n\n".join(
        " ".join(
            f"{rng.choice(WORDS)}{rng.choice(['', '', 's', 'ing', 'er', str(rng.randrange(50))])}" for _ in range(30)
        )
        + "."
        for _ in range(10)
    )


def short_of(file: int) -> str:
    return " ".join([f"Short{file}", *WORDS])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of pages: in each one copy, one page with a word changed, one too short, one line that is no JSON.

    Beside each page's own text is padding that makes every file a part of its own.
    """
    folder = tmp_path_factory.mktemp("pages")
    for file in range(FILES):
        texts = [text_of(file * PAGES + page) for page in range(PAGES)]
        texts[3] = text_of(0) if file else texts[3]
        texts[4] = text_of(1).replace("river", "lake", 1) if file else texts[4]
        texts[5] = short_of(file)
        texts[6] += f" Write to someone{file}@mail.example-site.com."
        rows = [
            json.dumps({"text": text, "url": f"https://www.site{page % 3}.org/{file}/{page}", "pad": "x" * 12_000})
            for page, text in enumerate(texts)
        ]
        (folder / f"pages-{file}.jsonl").write_text("\n".join([*rows, "{broken"]) + "\n")
    return folder


def settings_for(inputs: Path, **others: object) -> CrawlSettings:
    """Without what takes seconds to load: spaCy and the language model."""
    simple = {"splitter": "simple"}
    return CrawlSettings.model_validate(
        {
            "inputs": (str(inputs),),
            "language": False,
            "c4": False,
            "gopher_repetition": simple,
            "gopher_quality": simple,
            "fineweb": simple,
            "minhash": simple,
            "executor": {"workers": 1},
            **others,
        }
    )


def build(settings: CrawlSettings, place: Path) -> dict[str, str]:
    """Build, and give the hashes of what others may read."""
    crawl.build_crawl(settings, place, SilentProgress())
    return hashes(place)


def hashes(place: Path) -> dict[str, str]:
    files = [*place.glob("train-*.parquet"), place / "stats.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A crawl that nobody disturbed, on one task."""
    place = tmp_path_factory.mktemp("finished")
    settings = settings_for(inputs, executor={"workers": 1, "tasks": 1})
    return place, build(settings, place)


def test_what_comes_out(inputs: Path, finished: tuple[Path, dict[str, str]]) -> None:
    place, found = finished
    stats = json.loads((place / "stats.json").read_bytes())
    steps, planted = stats["steps"], FILES - 1
    names = "read extraction gopher_repetition gopher_quality fineweb minhash repeated_lines pii"
    assert list(steps) == names.split()
    assert steps["read"]["documents_in"] == FILES * (PAGES + 1)
    assert steps["read"]["documents_out"] == FILES * PAGES
    assert [one["documents"] for one in stats["skipped"].values()] == [FILES]
    short = stats["removed"]["gopher_quality"]["gopher_short_doc"]
    assert short["documents"] == FILES
    assert {shown["text"] for _, shown in short["sample"]} == {short_of(file) for file in range(FILES)}
    assert {(shown["value"], shown["threshold"]) for _, shown in short["sample"]} == {(1 + len(WORDS), 50)}
    assert stats["removed"]["minhash"]["near_duplicate"]["documents"] == 2 * planted
    assert stats["clusters"]["sizes"] == {str(FILES): 2}
    assert stats["documents"] == FILES * (PAGES - 1) - 2 * planted
    assert steps["pii"]["changed"] == FILES
    flows = list(steps.values())
    assert all(before["documents_out"] == after["documents_in"] for before, after in pairwise(flows))
    assert all(before["bytes_out"] == after["bytes_in"] for before, after in pairwise(flows))

    pages = [page for file in sorted(place.glob("train-*.parquet")) for page in read_segment(file)]
    assert len({page.id for page in pages}) == len(pages) == stats["documents"]
    assert sum(len(page.text.encode()) for page in pages) == stats["bytes"]
    texts = [page.text for page in pages]
    assert texts[0] == text_of(0)
    assert texts.count(text_of(0)) == 1
    assert not any("@mail" in text for text in texts)
    assert sum("email@example.com" in text for text in texts) == FILES
    assert len(found) == FILES + 1
    # Any other recipe can read it as it is.
    assert [document.text for document in read_documents(place)] == texts
    read = {row[0]: row[1:] for row in stats["domains"]["top"]}
    kept = {site: [page for page in pages if f"//www.{site}/" in (page.url or "")] for site in read}
    assert read == {
        site: [FILES * PAGES // 3, len(kept[site]), sum(len(page.text.encode()) for page in kept[site])]
        for site in read
    }


@pytest.mark.parametrize(("tasks", "workers"), [(2, 1), (5, 1), (3, 2)])
def test_the_same_bytes_on_any_number_of_tasks(
    inputs: Path,
    finished: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: int,
    workers: int,
) -> None:
    monkeypatch.setattr(crawl, "LARGE", 0)  # as if there were so much that comparisons are shared out, too
    settings = settings_for(inputs, executor={"tasks": tasks, "workers": workers})
    assert build(settings, tmp_path / "other") == finished[1]


CHILD = """
import os, signal, sys
from pathlib import Path
from cutaway.corpus import crawl
from cutaway.corpus.crawl_settings import CrawlSettings
from cutaway.runs import SilentProgress

kill_at, calls = int(sys.argv[3]), 0

def counted(rename):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(*args, **kwargs)
    return call

if __name__ == "__main__":
    os.rename, os.replace, os.link = counted(os.rename), counted(os.replace), counted(os.link)
    settings = CrawlSettings.model_validate_json(Path(sys.argv[1]).read_text())
    crawl.build_crawl(settings, Path(sys.argv[2]), SilentProgress())
    Path(sys.argv[2], "calls").write_text(str(calls))
"""


def start(settings: CrawlSettings, place: Path, kill_at: int = 0) -> subprocess.Popen[bytes]:
    """A process of its own that builds, and kills itself when it is about to name a file for the `kill_at`th time."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "settings.json").write_text(settings.model_dump_json())
    (place / "child.py").write_text(CHILD)
    command = [sys.executable, str(place / "child.py"), str(place / "settings.json"), str(place), str(kill_at)]
    return subprocess.Popen(command, start_new_session=True)


@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_bytes(
    inputs: Path, finished: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    settings = settings_for(inputs)
    assert start(settings, tmp_path / "whole").wait() == 0
    calls = int((tmp_path / "whole" / "calls").read_text())
    assert hashes(tmp_path / "whole") == finished[1]
    points = [2, calls // 3, calls * 3 // 4, calls - 2]
    children = {point: start(settings, tmp_path / str(point), point) for point in points}
    for point, child in children.items():
        assert child.wait() == -signal.SIGKILL
        place = tmp_path / str(point)
        assert not (place / "stats.json").exists()
        # What it had finished is not done again: the parts that are there stay the very same files.
        parts = {path: path.stat().st_ino for path in (place / crawl.WORK).glob("parts/*")}
        assert build(settings, place) == finished[1]
        assert {path: path.stat().st_ino for path in parts} == parts


def in_session(session: int) -> list[int]:
    """The processes that were started from one."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_workers_die_with_who_started_them(inputs: Path, finished: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    settings = settings_for(inputs, executor={"workers": 2, "tasks": 5})
    child = start(settings, tmp_path)
    progress = tmp_path / crawl.WORK / "progress"
    waits = 0
    while not (list(progress.glob("pages-*.done")) and len(in_session(child.pid)) > 2) and waits < 600:
        time.sleep(0.05)
        waits += 1
    assert len(in_session(child.pid)) > 2, "workers were at work"
    child.kill()
    child.wait()
    for _ in range(200):
        if not in_session(child.pid):
            break
        time.sleep(0.05)
    assert in_session(child.pid) == []
    assert build(settings_for(inputs), tmp_path) == finished[1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_workers_die_though_they_have_no_work_yet(inputs: Path, tmp_path: Path, processes: int) -> None:
    """A worker that is forked, and whose work is not sent, waits for it."""
    child = start(settings_for(inputs, executor={"workers": 2, "tasks": 5}), tmp_path)
    for _ in range(60_000):
        if len(in_session(child.pid)) >= processes:
            break
        time.sleep(0.001)
    child.kill()
    child.wait()
    for _ in range(1200):  # who forks them still imports, and sees only then that nobody is there
        if not in_session(child.pid):
            break
        time.sleep(0.05)
    assert in_session(child.pid) == []


def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> dict[str, str]:
    """Settings of a quality scorer of one's own."""
    name = f"scorer_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"import os, signal\ndef score(text):\n    {body}\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return {"scorer": f"{name}:score"}


def test_a_worker_that_is_killed_is_told_of(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quality = scorer(tmp_path, monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)")
    settings = settings_for(inputs, quality=quality, executor={"workers": 2, "tasks": 2})
    with pytest.raises(CutawayError, match="a worker process was killed"):
        build(settings, tmp_path / "run")


def test_a_page_that_breaks_a_step_costs_only_itself(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = scorer(tmp_path, monkeypatch, "assert not text.startswith(" + repr(text_of(2)[:40]) + ")")
    build(settings_for(inputs, quality=quality), tmp_path / "run")
    stats = json.loads((tmp_path / "run" / "stats.json").read_bytes())
    assert stats["skipped"]["the step quality broke: AssertionError"]["documents"] == 1
    assert stats["removed"]["quality"]["failed"]["documents"] == 1
    assert stats["documents"] == FILES * (PAGES - 1) - 2 * (FILES - 1) - 1


def test_what_a_person_can_mend_stops_the_run(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no_such_module"):
        build(settings_for(inputs, quality={"scorer": "no_such_module:score"}), tmp_path / "a")
    with pytest.raises(BadInput, match="does not exist"):
        build(settings_for(tmp_path / "nowhere"), tmp_path / "b")
    with pytest.raises(BadInput, match="nothing to read"):
        build(settings_for(inputs).model_copy(update={"inputs": ()}), tmp_path / "c")


def test_inputs_that_changed_since_a_kill(inputs: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in sorted(inputs.iterdir())[:2]:
        (copies / file.name).write_bytes(file.read_bytes())
    settings = settings_for(copies)
    assert start(settings, tmp_path / "run", 40).wait() == -signal.SIGKILL
    with (copies / "pages-1.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(BadInput, match=r"1 of the inputs changed .* \(first copies/pages-1.jsonl\)"):
        build(settings, tmp_path / "run")


def test_a_full_disk(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: SegmentWriter) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "close", full)
        with pytest.raises(CutawayError, match="no space left on the disk"):
            build(settings_for(inputs), tmp_path)
    assert not list(tmp_path.rglob("*.cutaway-tmp"))


def test_nothing_left_is_a_result_too(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("too short")
    assert list(build(settings_for(tmp_path / "page.txt"), tmp_path / "run")) == ["stats.json"]


def test_a_corpus_of_nothing_but_other_steps(inputs: Path, tmp_path: Path) -> None:
    """Every step can be switched off; the documents are then the pages."""
    names = "url_filter extraction gopher_repetition gopher_quality fineweb quality minhash repeated_lines pii"
    build(settings_for(inputs, **dict.fromkeys([*names.split(), "decontamination"], False)), tmp_path / "run")
    stats = json.loads((tmp_path / "run" / "stats.json").read_bytes())
    assert list(stats["steps"]) == ["read"]
    assert stats["documents"] == FILES * PAGES


def write_tool(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_slurm(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datatrove's launch scripts, run by stand-ins for Slurm that do each array's tasks at once."""
    tools = tmp_path / "bin"
    tools.mkdir()
    write_tool(
        tools,
        "sbatch",
        """cd $SLURM_STAND_IN; script="${@: -1}"; n=$(ls | wc -l); cp "$script" $n.slurm; echo "$@" > $n.args
grep -q merge_stats "$script" && { echo job 0; exit 0; }
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
if [ -n "$last" ]; then for task in $(seq 0 $last); do
  SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here SLURM_JOB_ID=1 RUN_OFFSET=0 bash "$script" >> $n.log 2>&1 || exit 1
done; fi
echo "Submitted batch job $((100 + n))" """,
    )
    write_tool(tools, "srun", 'while [ "${1:0:1}" = - ]; do [ "$1" = -n ] && shift; shift; done; exec "$@"')
    write_tool(tools, "scontrol", "echo localhost")
    write_tool(tools, "squeue", "exit 0")
    (tmp_path / "jobs").mkdir()
    monkeypatch.setenv("SLURM_STAND_IN", str(tmp_path / "jobs"))
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    slurm = {"partition": "night", "memory_gb": 3, "arguments": {"account": "web"}}
    executor = {"kind": "slurm", "tasks": 2, "workers": 2, "slurm": slurm}
    # Few passes: each task is a Python process of its own.
    few = settings_for(inputs, minhash=False, repeated_lines=False)
    expected = build(few, tmp_path / "local")
    there = few.model_copy(update={"executor": ExecutorSettings.model_validate(executor)})
    assert build(there, tmp_path / "slurm") == expected
    script = next(
        path.read_text() for path in (tmp_path / "jobs").glob("*.slurm") if "cutaway-pages" in path.read_text()
    )
    wanted = ("partition=night", "mem-per-cpu=3G", "account=web", "array=0-1%2", "job-name=cutaway-pages")
    assert all(f"#SBATCH --{one}\n" in script for one in wanted)
    arguments = [path.read_text() for path in sorted((tmp_path / "jobs").glob("*.args"))]
    assert sum("--dependency=afterok:" in one for one in arguments) >= 1, "each pass waits for the one before"


def test_without_slurm(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = settings_for(inputs, executor={"kind": "slurm"})
    with pytest.raises(BadInput, match="no sbatch on this machine"):
        build(settings, tmp_path / "run")


@pytest.mark.slow
def test_a_local_ray_cluster(inputs: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
    except Exception as error:
        pytest.skip(f"no Ray cluster can be started here: {error}")
    try:
        executor = {"kind": "ray", "tasks": 2, "workers": 2, "ray": {"memory_gb": 0.25}}
        # Few passes: each task is a process of its own that loads everything.
        few = settings_for(inputs, minhash=False, repeated_lines=False)
        there = few.model_copy(update={"executor": ExecutorSettings.model_validate(executor)})
        assert build(there, tmp_path / "ray") == build(few, tmp_path / "local")
    finally:
        ray.shutdown()
