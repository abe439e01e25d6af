"""Runs started, stopped and resumed over HTTP: what is let through, and one real run on its way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cutaway.model import ModelConfig
from cutaway.runs import MetricsLog, RunDirectory
from cutaway.serve.gate import Access
from cutaway.serve.keys import Keys, make_key
from cutaway.serve.limits import CallerLimits
from cutaway.tokens import Tokenizer
from cutaway.train.checkpoint import checkpoints
from cutaway.train.pretrain import keep_model, new_model

TEXT = "How many roads are there, and where do they lead? " * 200


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


pytestmark = pytest.mark.timeout(300)


def make_run(path: Path) -> Path:
    """A run whose recipe trains for hours."""
    path.mkdir(exist_ok=True)
    text = path.parent / "text.txt"
    text.write_text(TEXT)
    (path / "recipe.toml").write_text(
        f'kind = "text"\n[corpus]\ntext = ["{text}"]\n[pretrain]\ndepth = 1\nwidth = 32\nheads = 2\ncontext = 32\n'
        "row_length = 32\nbatch_tokens = 64\ntokens = 90_000_000\ncompile = false\nprecision = 'float32'\n"
    )
    return path


@pytest.fixture
def live(serve_live: Any) -> Any:
    live = serve_live()
    make_run(live.run)
    return live


@pytest.fixture
def http(live: Any) -> Iterator[Any]:
    with live.client() as http:
        yield http


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def message(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


def test_a_run_is_started_stopped_and_resumed(
    http: Any, live: Any, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUTAWAY_TOKEN", "secret")
    path = live.run.parent / "mine"
    metrics = path / "pretrain" / "metrics.jsonl"

    def told() -> Any:
        return next(run for run in http.get("/api/runs").json()["runs"] if run["name"] == "mine")

    def steps() -> int:
        return len(MetricsLog.read(metrics)) if metrics.exists() else 0

    asked = {"recipe": "demo", "of_run": True, "name": "mine", "seed": 7}
    answer = http.post("/api/runs/start", json=asked)
    assert (answer.status_code, answer.json()) == (200, {"run": "mine"})
    try:
        assert told()["alive"]
        assert not told()["resumable"]
        until(lambda: steps() > 2)
        holder = RunDirectory(path).holder()
        assert holder is not None
        assert holder != os.getpid()
        assert os.getsid(holder) == holder  # a session of its own, which the server's end does not reach
        assert b"CUTAWAY_TOKEN" not in Path(f"/proc/{holder}/environ").read_bytes()
        assert told()["seed"] == 7
        assert "seed = 7" in (path / "recipe.toml").read_text()
        assert message(http.post("/api/runs/resume", json={"run": "mine"})) == (
            409, "another process works on mine already",
        )  # fmt: skip
        assert message(http.post("/api/runs/start", json=asked))[0] == 409
        assert http.post("/api/runs/stop", json={"run": "mine"}).status_code == 200
        until(lambda: not told()["alive"])
        assert told()["resumable"]
        kept = steps()
        assert checkpoints(path / "pretrain" / "checkpoints")[-1].name == f"step-{kept:06d}"
        log = http.get("/api/runs/log", params={"run": "mine"}).json()["lines"]
        assert any("stopped; the same command carries on" in line for line in log)
        assert message(http.post("/api/runs/stop", json={"run": "mine"})) == (409, "no process works on mine")
        assert http.post("/api/runs/resume", json={"run": "mine"}).json() == {"run": "mine"}
        until(lambda: steps() > kept)
        models = http.get("/api/models").json()["models"]
        assert [model["id"] for model in models] == ["demo"]
        keep_model(new_model(ModelConfig.from_depth(1, tokenizer.vocab_size), 0), tokenizer, path / "finetune")
        models = http.get("/api/models").json()["models"]
        assert [(model["id"], [stage["id"] for stage in model["stages"]]) for model in models][1:] == [
            ("mine", ["mine:finetune"])
        ]
        assert "mine" in [model["id"] for model in http.get("/v1/models").json()["data"]]
        assert [row["step"] for row in MetricsLog.read(metrics)][: kept + 1] == list(range(1, kept + 2))
    finally:
        http.post("/api/runs/stop", json={"run": "mine"})
        until(lambda: not RunDirectory(path).held())


def test_what_can_be_started(http: Any, live: Any) -> None:
    found = http.get("/api/runs/recipes").json()
    assert found["folder"] == str(live.run.parent)
    plans = {(plan["recipe"], plan["of_run"]): plan for plan in found["plans"]}
    assert plans["demo", False]["depth"] == 4
    assert plans["demo", True] == {"recipe": "demo", "of_run": True, "seed": 1, "tokens": 90_000_000, "depth": None}
    assert plans["scaling", False]["tokens"] is None
    assert ("shakespeare", False) not in plans  # it needs a text
    assert ("web", False) not in plans  # and this one pages
    (live.run.parent / "text.txt").unlink()
    assert ("demo", True) not in {(p["recipe"], p["of_run"]) for p in http.get("/api/runs/recipes").json()["plans"]}


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"recipe": "/etc/passwd"}, 404, "there is no recipe '/etc/passwd' to start from here"),
        ({"recipe": "../demo"}, 404, "there is no recipe '../demo' to start from here"),
        ({"name": "../mine"}, 400, "name"),
        ({"name": ".hidden"}, 400, "name"),
        ({"name": "-flag"}, 400, "name"),
        ({"name": "mine/more"}, 400, "name"),
        ({"name": "demo"}, 409, "demo exists in"),
        ({"depth": 400}, 400, "depth"),
        ({"tokens": 0}, 400, "tokens"),
        ({"tokens": "5; rm"}, 400, "tokens"),
        ({"seed": -1}, 400, "seed"),
        ({"set": "owner=x"}, 400, "there is no parameter 'set'"),
        ({"of_run": True, "depth": 4}, 400, "depth cannot be set for demo here"),
        ({"recipe": "scaling", "tokens": 5000}, 400, "tokens cannot be set for scaling here"),
    ],
)
def test_what_is_refused(http: Any, live: Any, changed: dict[str, Any], status: int, said: str) -> None:
    before = sorted(live.run.parent.iterdir())
    answer = message(http.post("/api/runs/start", json={"recipe": "demo", "name": "mine"} | changed))
    assert answer[0] == status
    assert said in answer[1]
    assert sorted(live.run.parent.iterdir()) == before


def test_a_full_disk_and_a_busy_machine(http: Any, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"recipe": "demo", "name": "mine"}
    first, second = (make_run(live.run.parent / name) for name in ("first", "second"))
    with RunDirectory(first).lock(), RunDirectory(second).lock():
        status, said = message(http.post("/api/runs/start", json=asked))
        assert (status, said) == (409, "first and second are at work, and 2 may be at once; stop one, or wait")
        # That is this very process, which the request must not end.
        assert message(http.post("/api/runs/stop", json={"run": "absent"}))[0] == 404
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 5 << 20))
    for verb, body in (("start", asked), ("resume", {"run": "demo"})):
        status, said = message(http.post(f"/api/runs/{verb}", json=body))
        assert status == 507
        assert said.startswith("5 MiB are free on the disk that holds")
    assert not (live.run.parent / "mine").exists()


def test_a_run_begun_elsewhere_is_stopped_too(http: Any, live: Any) -> None:
    code = (
        "import sys, time; from cutaway.runs import RunDirectory\n"
        "with RunDirectory(sys.argv[1]).lock(): print('locked', flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(live.run)], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        assert http.post("/api/runs/stop", json={"run": "demo"}).status_code == 200
        assert other.wait(60) < 0


def test_a_process_that_only_has_the_number_is_left_alone(http: Any, live: Any) -> None:
    with (
        RunDirectory(live.run).lock(),
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as other,
    ):
        (live.run / ".lock").write_text(f"{other.pid}\n")
        status, said = message(http.post("/api/runs/stop", json={"run": "demo"}))
        assert (status, said) == (409, f"process {other.pid} works on demo and was begun elsewhere; stop it there")
        assert other.poll() is None
        other.kill()


def test_a_key_is_for_asking_models_alone(serve_live: Any, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys.toml", "alice", CallerLimits(), None)
    live = serve_live(access=Access(token="t" * 20, keys=Keys(tmp_path / "keys.toml")))
    make_run(live.run)
    asked = {"recipe": "demo", "of_run": True, "name": "demo"}
    for shown, status in ((key, 403), ("t" * 20, 409)):
        with live.client(headers={"Authorization": f"Bearer {shown}"}) as http:
            assert http.post("/api/runs/start", json=asked).status_code == status
            assert http.post("/api/runs/stop", json={"run": "demo"}).status_code == status
    with live.client() as http:
        assert http.post("/api/runs/start", json=asked).status_code == 401


def test_a_server_without_runs_starts_none(serve_live: Any, lm: Any) -> None:
    from cutaway.serve import Offer
    from cutaway.serve.offers import Lazy

    with serve_live([Offer("lone", Lazy(lambda: lm), "lone")]).client() as http:
        assert http.get("/api/runs/recipes").json() == {"folder": None, "plans": []}
        assert message(http.post("/api/runs/start", json={"recipe": "demo", "name": "mine"})) == (
            409, "this server serves no run, so it has no folder for new ones",
        )  # fmt: skip


def test_the_report_of_any_run(http: Any, live: Any) -> None:
    other = make_run(live.run.parent / "other")
    assert message(http.get("/api/runs/report", params={"run": "other"}))[0] == 404
    (other / "report.html").write_text("<p>Fine</p>")
    answer = http.get("/api/runs/report", params={"run": "other"})
    assert (answer.text, answer.headers["content-security-policy"].split(";")[0]) == ("<p>Fine</p>", "sandbox")
