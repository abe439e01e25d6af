from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from cutaway.cli.conversation import TerminalChat
from cutaway.infer import Sampling, Step, ToolStep
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(TokenizerSettings(vocab_size=300), ["the cat sat on the mat"], tmp_path_factory.mktemp("t"))


@dataclass
class Talk:
    """A chat with a model that says what it is told to."""

    tokenizer: Tokenizer
    terminal: bool = False
    context: int = 200
    asked: list[list[dict[str, Any]]] = field(default_factory=list)
    says: list[Step | ToolStep | type[BaseException]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out = io.StringIO()
        colours = "standard" if self.terminal else None
        console = Console(file=self.out, width=80, force_terminal=self.terminal, color_system=colours, highlight=False)
        self.loaded: list[str] = []
        self.chat = TerminalChat(
            self.model("runs/x"),
            console,
            sampling=Sampling(0.0),
            max_tokens=20,
            tools={},
            load=self.load,
            answering=self.answer,
        )

    def model(self, name: str) -> Any:
        return SimpleNamespace(name=name, config=SimpleNamespace(context=self.context), tokenizer=self.tokenizer)

    def load(self, ref: str) -> Any:
        self.loaded.append(ref)
        if not ref.endswith((":sft", ":pretrain")):
            raise BadInput(f"there is no {ref}")
        return self.model(ref)

    def answer(self, lm: Any, messages: list[dict[str, Any]], **_: Any) -> Iterator[Step | ToolStep]:
        self.asked.append([dict(message) for message in messages])
        for step in self.says:
            if isinstance(step, type):
                raise step
            yield step

    def text(self) -> str:
        return re.sub(r"\x1b\[[\d;]*m", "", self.out.getvalue())


def words(*pieces: str, p: float = 0.99) -> list[Any]:
    return [Step(65, piece, math.log(p), [(65, p), (66, 1 - p)]) for piece in pieces]


def test_questions_through_a_pipe(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, says=words("I am", " fine."))
    talk.chat.with_lines(["How are you?\n", "\n", "And now?\n", "/quit\n", "never asked\n"])
    assert talk.out.getvalue() == "I am fine.\nI am fine.\n"
    assert [m["content"] for m in talk.asked[1]] == ["How are you?", "I am fine.", "And now?"]


def test_tools_are_shown_and_kept(tokenizer: Tokenizer) -> None:
    end = tokenizer.end_of_turn
    call = [Step(tokenizer.tool_call, "", 0.0), *words("12", "*3"), Step(end, "", 0.0)]
    forced = [Step(70, "36", -1.0, forced=True), Step(end, "", -1.0, forced=True)]
    talk = Talk(
        tokenizer, says=[*call, ToolStep("calculator", "12*3", "36"), *forced, *words("It is 36."), Step(end, "", 0.0)]
    )
    talk.chat.hear("12*3?")
    talk.chat.hear("sure?")
    assert talk.out.getvalue() == "calculator: 12*3 = 36\nIt is 36.\n" * 2
    second = talk.asked[1]
    assert [m["role"] for m in second] == ["user", "assistant", "tool", "assistant", "user"]
    assert second[1]["tool_calls"][0]["function"] == {"name": "calculator", "arguments": '{"expression": "12*3"}'}
    assert second[3]["content"] == "It is 36."
    tokenizer.encode_chat(second)


def test_ctrl_c_keeps_what_was_said(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, says=[*words("Half an"), KeyboardInterrupt])
    assert talk.chat.hear("Tell me.")
    assert talk.text() == "Half an (stopped)\n"
    talk.chat.hear("Go on.")
    assert talk.asked[1][1] == {"role": "assistant", "content": "Half an"}


def test_reset_and_system(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, says=words("ok"))
    talk.chat.hear("/system Be brief.")
    talk.chat.hear("one")
    assert talk.asked[0] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}]
    talk.chat.hear("/reset")
    talk.chat.hear("/system")
    talk.chat.hear("two")
    assert talk.asked[1] == [{"role": "user", "content": "two"}]


def test_stages(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, terminal=True, says=words("ok"))
    talk.chat.hear("/stage sft")
    talk.chat.hear("/stage pretrain")
    assert talk.loaded == ["runs/x:sft", "runs/x:pretrain"]
    assert talk.chat.lm.name == "runs/x:pretrain"
    talk.chat.hear("/stage nope")
    assert "there is no runs/x:nope" in talk.text()
    assert talk.chat.lm.name == "runs/x:pretrain"
    with pytest.raises(BadInput, match="/stage needs a name"):
        talk.chat.hear("/stage", forgiving=False)


def test_probabilities(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, terminal=True, says=[*words("sure"), *words("unsure", p=0.3)])
    talk.chat.hear("/probs")
    talk.chat.hear("?")
    assert "how sure of each token" in talk.text()
    assert re.search(r"least sure of\s+could have been", talk.text())
    assert re.search(r"'.+'\s+30%\s+'.+' 70%", talk.text())
    assert "\x1b[32msure" in talk.out.getvalue()
    talk.says = words("sure")
    talk.chat.hear("?")
    assert "every token was at least 95% likely" in talk.text()


def test_the_oldest_is_forgotten_when_the_context_is_full(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, terminal=True, context=120, says=words("x" * 20))
    for n in range(6):
        talk.chat.hear(f"question {n} {'y' * 15}")
    assert "no longer fits" in talk.text()
    last = talk.asked[-1]
    assert last[0]["role"] == "user"
    assert last[-1]["content"].startswith("question 5")
    assert 1 < len(last) < 11
    assert len(tokenizer.encode_chat(last)) <= 120 - 32


def test_the_models_words_are_no_control_codes_and_no_markup(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer, terminal=True, says=words("\x1b[2J[red]hi[/red]"))
    talk.chat.hear("?")
    assert "\x1b[2J" not in talk.out.getvalue()
    assert "�[2J[red]hi[/red]" in talk.text()


def test_unknown_commands_and_help(tokenizer: Tokenizer) -> None:
    talk = Talk(tokenizer)
    talk.chat.hear("/frob")
    assert talk.text() == "there is no command /frob; /help lists them\n"
    with pytest.raises(BadInput):
        talk.chat.with_lines(["/frob"])
    talk.chat.hear("/help")
    for command in ("/reset", "/system TEXT", "/stage NAME", "/probs", "/help", "/quit"):
        assert command in talk.text()
    assert talk.chat.hear("/quit") is False


def test_nothing_said(tokenizer: Tokenizer, tmp_path: Path) -> None:
    talk = Talk(tokenizer, says=[Step(tokenizer.end_of_turn, "", 0.0)])
    talk.chat.hear("?")
    assert talk.out.getvalue() == "\n"
