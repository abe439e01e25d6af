"""Recipes: TOML read into the settings that live beside each stage, with errors a person can act on."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

from cutaway.runs.errors import BadInput


class Settings(BaseModel):
    """Base of every stage's settings: no unknown keys, no changes after reading.

    A string literal under a field documents it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


def load_recipe(path: str | os.PathLike[str] | None, overrides: Sequence[str], model: type[Model]) -> Model:
    """Read the TOML at `path` (None: nothing but defaults), apply `overrides` ("a.b=value"), check it as a `model`.

    A value is taken exactly by TOML's types: "4" in quotes is not the number 4. An override's value is read as TOML
    and, where it is not TOML, as a string.

    Raises:
        BadInput: no such file, not TOML, an unknown key (the nearest known one is named), or a wrong type or value.
    """
    data = _read_toml(Path(path)) if path is not None else {}
    origins: dict[Location, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _put(data, key, value, override)
        origins[key] = f"--set {override}"
    # Through JSON, because only its strict mode takes a list for a tuple and a string for a path, as TOML must.
    text = json.dumps(data, default=str)
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        wrong = [detail for detail in error.errors() if detail["type"] not in _NOT_IN_JSON]
    if not wrong:
        # Below a validator of mode "before", pydantic no longer knows that it reads JSON; nothing but that was amiss.
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            wrong = error.errors()
    raise _explain(wrong, model, str(path) if path is not None else "the recipe", origins)


_NOT_IN_JSON = ("tuple_type", "set_type", "frozen_set_type", "path_type", "is_instance_of")
"""Errors that say no more than that a value is written the only way in which JSON and TOML can write it."""


def to_toml(model: BaseModel) -> str:
    """The settings as TOML that `load_recipe` reads back to an equal model. Values that are None are left out."""
    return tomli_w.dumps(_without_none(model.model_dump(mode="json")))


def quoted(value: str | Sequence[str]) -> str:
    """A string or strings as the value of an override: JSON's strings are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"there is no recipe at {path}; give the path of a .toml file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def _parse_override(text: str) -> tuple[Location, Any]:
    key, equals, value = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise BadInput(f'--set {text} is not "key=value"; write it as --set pretrain.depth=8')
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return parts, value
    # A value with a line break in it could smuggle in further keys; such a value is plain text.
    return parts, parsed["value"] if len(parsed) == 1 else value


def _put(data: dict[str, Any], key: Location, value: Any, override: str) -> None:
    for depth, part in enumerate(key[:-1]):
        inner: Any = data.setdefault(str(part), {})
        if not isinstance(inner, dict):
            raise BadInput(f"--set {override}: {_dotted(key[: depth + 1])} is one value, it holds no keys")
        data = cast("dict[str, Any]", inner)
    data[str(key[-1])] = value


def _explain(
    wrong: Sequence[Mapping[str, Any]], model: type[BaseModel], source: str, origins: dict[Location, str]
) -> BadInput:
    """One line about the first thing that is wrong, naming where it was said, the key, the value and what would do."""
    # A key that others would have followed from is the cause of their being missing.
    first = min(wrong, key=lambda detail: detail["type"] == "missing")
    location = _key_location(model, first["loc"])
    key = _dotted(location) or "the recipe"
    within = [said for at, said in origins.items() if at[: len(location)] == location]
    among = f"{source} with {' '.join(within)}" if within else source  # what is said of a section may be due to these
    where = next((said for at, said in origins.items() if location[: len(at)] == at), among)
    match first["type"]:
        case "extra_forbidden":
            return BadInput(f"{where}: there is no key {key}{_suggestion(model, location)}")
        case "missing" if location and isinstance(location[-1], int):
            return BadInput(f"{where}: {_dotted(location[:-1])} has too few values")
        case "missing":
            return BadInput(f"{where}: the key {key} is needed and not given")
        case "value_error":
            return BadInput(f"{where}: {key}: {first.get('ctx', {}).get('error', first['msg'])}")
        case _:
            pass
    given = json.dumps(first["input"], default=str, ensure_ascii=False)
    if len(given) > 60:
        given = given[:57] + "..."
    # A key that takes one of several kinds of value has an error for each.
    ways = [_wanted(detail) for detail in wrong if _key_location(model, detail["loc"]) == location]
    return BadInput(f"{where}: {key} is {given}, but should be {' or '.join(dict.fromkeys(ways))}")


def _key_location(model: type[BaseModel], location: Location) -> Location:
    """`location` without what pydantic adds to a key's own place: which of several kinds of value it tried."""
    current: type[BaseModel] | None = model
    for depth, part in enumerate(location):
        if current is None:
            return location[:depth] if isinstance(part, str) else location[: depth + 1]
        # A number is a place in a list of sections.
        current = _inner_model(current, part) if isinstance(part, str) else current
    return location


def _wanted(detail: Mapping[str, Any]) -> str:
    expected = _EXPECTED.get(detail["type"])
    return expected.format(**detail.get("ctx", {})) if expected else detail["msg"].removeprefix("Input should be ")


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text in quotes",
    "list_type": "a list in [ ]",
    "tuple_type": "a list in [ ]",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "dict_type": "a table of keys",
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
    "literal_error": "one of {expected}",
    "enum": "one of {expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}


def _suggestion(model: type[BaseModel], location: Location) -> str:
    """The nearest key beside the unknown one; failing that, the same word anywhere in the recipe."""
    word = str(location[-1])
    beside = _keys_at(model, location[:-1])
    near = difflib.get_close_matches(word, beside, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {_dotted((*location[:-1], near[0]))}?"
    everywhere: dict[str, str] = {}
    for dotted in _all_keys(model):
        everywhere.setdefault(dotted.rpartition(".")[2], dotted)
    near = difflib.get_close_matches(word, everywhere, n=1, cutoff=0.75)
    if near:
        return f"; did you mean {everywhere[near[0]]}?"
    return f"; the keys there are {', '.join(beside)}" if beside else ""


def _keys_at(model: type[BaseModel], location: Location) -> list[str]:
    current: type[BaseModel] | None = model
    for part in (part for part in location if isinstance(part, str)):
        current = _inner_model(current, part) if current else None
    return list(current.model_fields) if current else []


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name in model.model_fields:
        yield prefix + name
        inner = _inner_model(model, name)
        if inner:
            yield from _all_keys(inner, f"{prefix}{name}.")


def _inner_model(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of the section `name`, also where it is optional (`Section | None`)."""
    if name not in model.model_fields:
        return None
    annotation = model.model_fields[name].annotation
    candidates: Iterable[Any] = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _without_none(inner) for key, inner in items if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in cast("list[Any]", value) if inner is not None]
    return value
