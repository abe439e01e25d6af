"""What a server offers: models by name, loaded when first asked for, and what lies beside them in their runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutaway.infer import LanguageModel, load, stages_with_models
from cutaway.runs import BadInput
from cutaway.serve.examples import examples_of


class Lazy:
    """A model that is loaded when it is first called for, and kept; safe to call from several threads."""

    def __init__(self, load: Callable[[], LanguageModel]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._model: LanguageModel | None = None

    def __call__(self) -> LanguageModel:
        """The model."""
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model


@dataclass(frozen=True)
class Offer:
    """One model that can be asked for."""

    name: str
    """What a request calls it: "demo", or "demo:sft" for a certain stage of a run."""
    load: Callable[[], LanguageModel]
    family: str
    """The run or model directory it belongs to: the name before the colon."""
    stage: str | None = None
    """The stage of the run it is the outcome of."""
    run: Path | None = None

    @property
    def report(self) -> Path | None:
        """The run's report, where there is one."""
        path = self.run / "report.html" if self.run else None
        return path if path and path.is_file() else None

    def examples(self) -> list[str]:
        """Questions worth asking it first; none where its run has nothing to ask about."""
        return examples_of(self.run) if self.run else []


def offers(refs: Sequence[str]) -> list[Offer]:
    """The models that `refs` name: every finished stage of a run, or a model of its own.

    `runs/demo` gives "demo" (its last finished stage) and "demo:pretrain", "demo:sft", "demo:rl" as far as they
    are finished; `runs/demo:sft` gives that one as "demo:sft".

    Raises:
        BadInput: a reference names nothing, a run has no finished model, or two would have one name.
    """
    found: dict[str, Offer] = {}
    for ref in refs:
        for offer in _offers_of(ref):
            if offer.name in found:
                raise BadInput(f"two models would be called {offer.name!r} ({ref} is the second); rename a directory")
            found[offer.name] = offer
    if not found:
        raise BadInput("no model to serve; name a run or a model directory, as in: cutaway serve runs/demo")
    return list(found.values())


def _offers_of(ref: str) -> list[Offer]:
    path = Path(ref)
    finished = stages_with_models(path)
    if finished:
        family = path.resolve().name
        staged = [
            Offer(f"{family}:{stage}", Lazy(lambda stage=stage: load(f"{ref}:{stage}")), family, stage, path)
            for stage in finished
        ]
        return [Offer(family, staged[-1].load, family, staged[-1].stage, path), *staged]
    model = Lazy(lambda: load(ref))
    run, _, stage = ref.rpartition(":")
    if run and stage in stages_with_models(Path(run)):
        family = Path(run).resolve().name
        return [Offer(f"{family}:{stage}", model, family, stage, Path(run))]
    # Nothing here says whether this is a model; `load` does, with the right words when it is not.
    model()
    name = path.resolve().name
    return [Offer(name, model, name)]


def with_finished(offered: Sequence[Offer], run: Path) -> tuple[Offer, ...]:
    """`offered` with the finished stages of a run, in their place or after the others; loaded ones stay loaded.

    A run that has no finished model yet, or a name that another model has, changes nothing.
    """
    known = {offer.name: offer for offer in offered}
    others = [offer for offer in offered if offer.run is None or offer.run.resolve() != run.resolve()]
    stages = stages_with_models(run)
    if not stages or any(offer.family == run.name for offer in others):
        return tuple(offered)
    staged = [known.get(offer.name, offer) for offer in _offers_of(str(run))[1:]]
    at = next((i for i, offer in enumerate(offered) if offer not in others), len(others))
    # The run itself stands for its last stage, whose weights are loaded once for both.
    return (*others[:at], Offer(run.name, staged[-1].load, run.name, staged[-1].stage, run), *staged, *others[at:])


def choose(offers: Sequence[Offer], name: str | None) -> Offer | None:
    """The offer of that name; the first one for None."""
    if name is None:
        return offers[0]
    return next((offer for offer in offers if offer.name == name), None)
