from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from cutaway.runs import BadInput, Settings, load_recipe, to_toml


class Pretrain(Settings):
    depth: int = Field(4, ge=1, le=64)
    learning_rate: float = Field(0.02, gt=0)
    compile: bool = False
    shape: Literal["deep", "wide"] = "deep"
    mix: tuple[float, ...] = (0.5, 0.5)
    text: Path | None = None
    sources: bool | list[str] = True

    @model_validator(mode="after")
    def _deep_is_deep(self) -> Pretrain:
        if self.shape == "wide" and self.depth > 10:
            raise ValueError("a wide model has at most 10 layers")
        return self


class Derived(Settings):
    """One whose fields follow from another, by a validator that sees the data first."""

    width: int
    depth: int = 4
    betas: tuple[float, float] = (0.9, 0.95)
    where: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, data: Any) -> Any:
        depth = data.get("depth", 4)
        return {"width": 48 * depth, **data} if isinstance(depth, int) else data


class Example(Settings):
    name: str = "run"
    seed: int = 0
    pretrain: Pretrain = Pretrain()
    sft: Pretrain | None = None
    ladder: tuple[Pretrain, ...] = ()
    weights: dict[str, float] = {}
    derived: Derived = Field(default_factory=lambda: Derived.model_validate({}))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_given_is_all_defaults() -> None:
    assert load_recipe(None, [], Example) == Example()


def test_fields_that_follow_from_others(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, '[derived]\ndepth = 2\nbetas = [0.5, 1]\nwhere = "x"'), [], Example)
    assert recipe.derived == Derived(depth=2, width=96, betas=(0.5, 1.0), where=Path("x"))
    write(tmp_path, to_toml(recipe))
    assert load_recipe(tmp_path / "my.toml", [], Example) == recipe


def test_a_file_and_overrides(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "mine"\n[pretrain]\ndepth = 6\nlearning_rate = 1\ntext = "a/b.txt"\nmix = [1, 2]\n')
    recipe = load_recipe(path, ["pretrain.depth=8", "sft.depth=2", "name=two words", "weights.x=1"], Example)
    assert recipe.pretrain == Pretrain(depth=8, learning_rate=1.0, text=Path("a/b.txt"), mix=(1.0, 2.0))
    assert recipe.sft == Pretrain(depth=2)
    assert recipe.name == "two words"
    assert recipe.weights == {"x": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pretrain]\ndepht = 4", "my.toml: there is no key pretrain.depht; did you mean pretrain.depth?"),
        ("depth = 4", "my.toml: there is no key depth; did you mean pretrain.depth?"),
        ("[sft]\nlr = 4", "there is no key sft.lr; the keys there are depth, learning_rate"),
        ("[pretrian]", "there is no key pretrian; did you mean pretrain?"),
        ('[pretrain]\ndepth = "four"', 'my.toml: pretrain.depth is "four", but should be a whole number'),
        ('[pretrain]\ndepth = "4"', 'pretrain.depth is "4", but should be a whole number'),
        ("[pretrain]\ndepth = 4.0", "pretrain.depth is 4.0, but should be a whole number"),
        ("[pretrain]\ndepth = true", "pretrain.depth is true, but should be a whole number"),
        ("[pretrain]\ndepth = 0", "pretrain.depth is 0, but should be at least 1"),
        ("[pretrain]\nlearning_rate = 0", "pretrain.learning_rate is 0, but should be more than 0"),
        ("[pretrain]\ncompile = 1", "pretrain.compile is 1, but should be true or false"),
        ('[pretrain]\nshape = "round"', "pretrain.shape is \"round\", but should be one of 'deep' or 'wide'"),
        ("[pretrain]\nsources = 3", "pretrain.sources is 3, but should be true or false or a list in [ ]"),
        ('[pretrain]\nsources = ["a", 3]', "pretrain.sources is"),
        ("[pretrain]\nmix = [1, true]", "pretrain.mix.1 is true, but should be a number"),
        ('[derived]\ndepth = "4"', 'derived.depth is "4", but should be a whole number'),
        ("[derived]\nbetas = 3", "derived.betas is 3, but should be a list in [ ]"),
        ('[derived]\nbetas = ["a", 1]', 'derived.betas.0 is "a", but should be a number'),
        ("[derived]\nbetas = [1]", "my.toml: derived.betas has too few values"),
        ("[pretrain]\nlearning_rate = inf", "pretrain.learning_rate is Infinity, but should be a finite number"),
        ("[derived]\nwidht = 3", "there is no key derived.widht; did you mean derived.width?"),
        ("[[ladder]]\n[[ladder]]\ndepht = 4", "there is no key ladder.1.depht; did you mean ladder.1.depth?"),
        ("[[ladder]]\ndepth = 0", "ladder.0.depth is 0, but should be at least 1"),
        ("ladder = [3]", "ladder.0 is 3, but should be a table of keys"),
        ("name = 3", "name is 3, but should be text in quotes"),
        ("pretrain = 3", "pretrain is 3, but should be a table of keys"),
        ('[pretrain]\nshape = "wide"\ndepth = 20', "my.toml: pretrain: a wide model has at most 10 layers"),
        ("depth = ", "my.toml is not TOML: "),
        ("a = 1\na = 2", "my.toml is not TOML: "),
    ],
)
def test_one_line_about_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(write(tmp_path, text), [], Example)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.depht=4", "--set pretrain.depht=4: there is no key pretrain.depht; did you mean pretrain.depth?"),
        ("pretrain.depth=four", '--set pretrain.depth=four: pretrain.depth is "four", but should be a whole number'),
        ("pretrain.depth", '--set pretrain.depth is not "key=value"'),
        ("=4", '"key=value"'),
        ("seed.x=4", "but should be a whole number"),
    ],
)
def test_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_recipe(None, [override], Example)
    assert message in str(caught.value)


def test_overrides_that_contradict_the_rest_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"my\.toml with --set pretrain\.depth=20: pretrain: a wide model has"):
        load_recipe(write(tmp_path, '[pretrain]\nshape = "wide"'), ["seed=2", "pretrain.depth=20"], Example)


def test_an_override_below_a_value(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="seed is one value, it holds no keys"):
        load_recipe(write(tmp_path, "seed = 3"), ["seed.x=4"], Example)


def test_an_override_cannot_bring_further_keys() -> None:
    assert load_recipe(None, ['name="x"\nseed=3'], Example).name == '"x"\nseed=3'


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no recipe at"):
        load_recipe(tmp_path / "none.toml", [], Example)
    with pytest.raises(BadInput, match="there is no recipe at"):
        load_recipe(tmp_path, [], Example)


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(BadInput, match="not UTF-8 at byte 8"):
        load_recipe(tmp_path / "my.toml", [], Example)


# TOML files are UTF-8, which has no lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
pretrains = st.builds(
    Pretrain,
    depth=st.integers(1, 10),
    learning_rate=st.floats(1e-300, 1e300),
    compile=st.booleans(),
    shape=st.sampled_from(["deep", "wide"]),
    mix=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    text=st.none() | st.just(Path("some/where")),
)


@given(
    st.builds(
        Example,
        name=texts,
        seed=st.integers(-(2**63), 2**63 - 1),
        pretrain=pretrains,
        sft=st.none() | pretrains,
        weights=st.dictionaries(texts, st.floats(-1e9, 1e9)),
    )
)
def test_the_resolved_recipe_reads_back_equal(recipe: Example) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.toml")
        path.write_bytes(to_toml(recipe).encode())
        assert load_recipe(path, [], Example) == recipe


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Example().seed = 3  # type: ignore[misc]
    assert math.isclose(Example().pretrain.learning_rate, 0.02)
