"""What a recipe file may hold: a few values of the run, and a section for each stage, declared beside that stage."""

from __future__ import annotations

import getpass
import tomllib
from pathlib import Path

from pydantic import Field

from cutaway.align.grpo import GrpoSettings
from cutaway.align.sft import SftSettings
from cutaway.corpus.build import CorpusSettings
from cutaway.evals import EvalSettings
from cutaway.runs import Settings
from cutaway.tokens import TokenizerSettings
from cutaway.train.pretrain import PretrainSettings


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "its user"


class PretrainShares(Settings):
    """What the rows are filled with, in proportion."""

    real: float = Field(default=10, gt=0)
    """Real text."""
    world: float = Field(default=2.5, ge=0)
    """Tellings of the generated world."""
    chat: float = Field(default=5.5, ge=0)
    """Conversations, so that questions about the world are met while it is learned (Allen-Zhu and Li 2023)."""


class MixturePretrainSettings(PretrainSettings):
    """A new model's size and training on rows of several kinds."""

    shares: PretrainShares = PretrainShares()


class Recipe(Settings):
    """One whole pipeline, from raw text to assistant."""

    seed: int = Field(default=1, ge=0, lt=2**31)
    """Everything random in the run follows from it."""
    name: str = Field(default="Cutaway", pattern=r"^\S.{0,39}$")
    """What the assistant calls itself."""
    owner: str = Field(default_factory=_user, pattern=r"^\S.{0,79}$")
    """Whom the assistant names as the one who trained it; the name of your account if you do not say."""
    corpus: CorpusSettings = Field(default_factory=CorpusSettings)
    tokenizer: TokenizerSettings = Field(default_factory=TokenizerSettings)
    pretrain: MixturePretrainSettings = Field(default_factory=lambda: MixturePretrainSettings.model_validate({}))
    sft: SftSettings = Field(default_factory=SftSettings)
    rl: GrpoSettings = Field(default_factory=GrpoSettings)
    evals: EvalSettings = Field(default_factory=EvalSettings)


def kind_of(path: Path) -> str:
    """The kind that a recipe names. What is wrong with a file that cannot be read is for `load_recipe` to say."""
    try:
        return str(tomllib.loads(path.read_text("utf-8")).get("kind", "assistant"))
    except (OSError, ValueError):
        return "assistant"
