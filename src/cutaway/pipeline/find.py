"""Finding a recipe: by path, by the name of one that comes with the package, or in a run that was made from it."""

from __future__ import annotations

import difflib
from pathlib import Path

from cutaway.runs import BadInput

# Beside the package when it runs from its source tree, inside it when it was installed as a wheel.
_PACKAGE = Path(__file__).resolve().parents[1]
_SHIPPED = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def find_recipe(name: str) -> Path:
    """The recipe file that `name` means: a path, a run directory (its resolved recipe), or a shipped recipe's name.

    Raises:
        BadInput: there is none; the message names those that come with the package.
    """
    path = Path(name)
    if path.is_file():
        return path
    if (path / "recipe.toml").is_file():
        return path / "recipe.toml"
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give a path, a run, or one of: {', '.join(shipped)}"
    raise BadInput(f"there is no recipe {name}; {hint}")


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    found = {path.stem: path for folder in reversed(_SHIPPED) for path in folder.glob("*.toml")}
    return dict(sorted(found.items()))


def default_run(name: str) -> Path:
    """Where a run of the recipe `name` goes by default: into the run it names, or under runs/ by the recipe's name."""
    path = Path(name)
    return path if (path / "recipe.toml").is_file() else Path("runs") / path.stem
