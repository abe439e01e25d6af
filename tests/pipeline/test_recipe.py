from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest
from pydantic import ValidationError

from cutaway.pipeline import STAGES, Recipe, find_recipe, read_recipe
from cutaway.pipeline.find import default_run, shipped_recipes
from cutaway.pipeline.run import needed_for
from cutaway.runs import BadInput, load_recipe, to_toml
from cutaway.train.pretrain import PretrainSettings


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_reads(name: str, tmp_path: Path) -> None:
    recipe, _ = read_recipe(find_recipe(name), [])
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert read_recipe(find_recipe(str(tmp_path)), [])[0] == recipe


def test_demo_is_shipped() -> None:
    assert "demo" in shipped_recipes()


def test_no_such_recipe() -> None:
    with pytest.raises(BadInput, match=r"there is no recipe dmeo; did you mean demo\?"):
        find_recipe("dmeo")
    with pytest.raises(BadInput, match="one of: "):
        find_recipe("zzzz/zzzz")


def test_where_a_run_goes(tmp_path: Path) -> None:
    assert default_run("demo") == Path("runs/demo")
    assert default_run("my/own.toml") == Path("runs/own")
    (tmp_path / "recipe.toml").write_text("")
    assert default_run(str(tmp_path)) == tmp_path


def test_stages_come_after_their_inputs() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.inputs) <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)


def test_every_stages_settings_and_uses_exist() -> None:
    recipe = Recipe()
    for stage in STAGES:
        stage.settings(recipe).model_dump_json()
        for key in stage.uses:
            attrgetter(key)(recipe)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"width": 32, "heads": 40}, "too little for 40 heads"), ({"row_length": 600, "context": 256}, "row_length 600")],
)
def test_shapes_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainSettings.model_validate(settings)


def test_what_a_verb_needs() -> None:
    names = [stage.name for stage in needed_for("grpo", STAGES)]
    assert names == ["corpus", "tokenizer", "shards", "pretrain", "sft", "rl"]
    assert [stage.name for stage in needed_for("report", STAGES)] == [stage.name for stage in STAGES]


def test_patience_where_nothing_is_looked_at_is_refused() -> None:
    with pytest.raises(BadInput, match="sft: patience needs looks at held-out examples"):
        load_recipe(None, ["sft.patience=3"], Recipe)
