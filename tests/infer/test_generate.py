"""Generation against `transformers`, against itself in other batches, and sampling against its distribution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cutaway.infer import GREEDY, LanguageModel, Sampling, Session, ToolStep, answer_batch, generate_batch, load, reply
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer

TEXTS = ["In the beginning God created the heaven and the earth.", "12*34=408. Words café 日本語 ü."] * 30


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    directory = tmp_path_factory.mktemp("run") / "pretrain/model"
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=400), TEXTS, directory)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 64, context=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    save_model(model, directory, token_ids=tokenizer.token_ids)
    return load(directory.parent.parent)


def prompts_of(lm: LanguageModel, n: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [
        [
            lm.tokenizer.end_of_text,
            *torch.randint(7, lm.tokenizer.vocab_size, (1 + i % 13,), generator=generator).tolist(),
        ]
        for i in range(n)
    ]


def test_batched_greedy_equals_solo_and_transformers(lm: LanguageModel) -> None:
    prompts = prompts_of(lm, 30)
    batched = generate_batch(lm.model, prompts, max_tokens=20, stop_ids=lm.tokenizer.stop_ids, batch_size=8)
    solo = [generate_batch(lm.model, [p], max_tokens=20, stop_ids=lm.tokenizer.stop_ids)[0] for p in prompts]
    assert batched == solo
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(Path(lm.name) / "pretrain/model", dtype=torch.float32)
    for prompt, ours in zip(prompts, solo, strict=True):
        out = theirs.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)
        assert out[0, len(prompt) :].tolist() == ours


def test_generation_ends_with_the_context(lm: LanguageModel) -> None:
    nothing_stops: set[int] = set()
    prompts = [[0] * 60, [0] * 64, [0] * 3]
    written = generate_batch(lm.model, prompts, max_tokens=200, stop_ids=nothing_stops)
    # Each has its own room, also beside longer ones.
    alone = [len(generate_batch(lm.model, [p], max_tokens=200, stop_ids=nothing_stops)[0]) for p in prompts]
    assert alone == [4, 0, 61]
    assert [len(w) for w in written] == alone
    with pytest.raises(BadInput, match="context of 64"):
        generate_batch(lm.model, [[0] * 65], max_tokens=1, stop_ids=nothing_stops)
    with pytest.raises(BadInput, match="context of 64"):
        Session(lm.model).read([0] * 65)


@pytest.mark.parametrize("sampling", [Sampling(0.7), Sampling(1.3, top_p=0.8), Sampling(1.0, top_k=5)])
def test_tokens_are_drawn_with_the_stated_probabilities(sampling: Sampling) -> None:
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(3)) * 2
    wanted = sampling.distribution(logits)[0]
    generator = torch.Generator().manual_seed(0)
    drawn = sampling.choose(logits.expand(20_000, -1), generator)
    counts = torch.bincount(drawn, minlength=12)
    assert not counts[wanted == 0].any()
    kept = wanted > 0
    expected = wanted[kept] * 20_000
    chi_square = float(((counts[kept] - expected) ** 2 / expected).sum())
    freedom = int(kept.sum()) - 1
    # Its mean is the degrees of freedom, its variance twice that.
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


def test_truncation_keeps_the_smallest_sets() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert Sampling(1.0, top_p=0.5).distribution(logits)[0].tolist() == [1, 0, 0, 0]
    assert Sampling(1.0, top_p=0.0).distribution(logits)[0].tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(Sampling(1.0, top_p=0.79).distribution(logits)[0], torch.tensor([0.625, 0.375, 0, 0]))
    torch.testing.assert_close(Sampling(1.0, top_k=2).distribution(logits)[0], torch.tensor([0.625, 0.375, 0, 0]))
    for bad in ({"temperature": -1.0}, {"top_p": 1.5}, {"temperature": float("nan")}, {"top_k": -1}):
        with pytest.raises(BadInput):
            Sampling(**bad)


def test_a_stream_gives_its_text_in_whole_characters(lm: LanguageModel) -> None:
    from cutaway.infer.generate import TextStream

    ids = lm.tokenizer.encode("café 日本語 🙂")
    text = TextStream(lm.tokenizer)
    pieces = [text.add(i) for i in ids]
    assert "".join(pieces) + text.finish() == "café 日本語 🙂"
    assert all("\ufffd" not in piece for piece in pieces)
    start_of_emoji = next(i for i in ids if lm.tokenizer.token_bytes(i).endswith(b"\xf0"))
    text.add(start_of_emoji)
    assert text.finish() == "\ufffd"


def test_the_same_seed_gives_the_same_text(lm: LanguageModel) -> None:
    def write(seed: int) -> str:
        return lm.generate("In the", max_tokens=20, temperature=1.0, seed=seed)

    assert write(1) == write(1)
    assert len({write(seed) for seed in range(5)}) > 1


class Scripted(Transformer):
    """A transformer that says what it is told to say, whatever it reads."""

    def __init__(self, config: ModelConfig, script: list[list[int]], ends: set[int]) -> None:
        super().__init__(config)
        self.script = {tuple(turn[:i]): token for turn in script for i, token in enumerate(turn)}
        self.turns, self.ends = script, ends
        self.ids: list[int] = []
        self.turn, self.at = -1, 0

    def hidden(self, tokens: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return tokens[..., None]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        token = int(hidden[0, 0])
        if token == self.opens:
            self.turn, self.at = self.turn + 1, 0
        else:
            self.at += 1
        out = torch.zeros(1, self.config.vocab_size)
        turn = self.turns[min(self.turn, len(self.turns) - 1)]
        out[0, turn[min(self.at, len(turn) - 1)]] = 50.0
        return out


def test_a_call_is_run_and_its_result_put_before_the_model(lm: LanguageModel) -> None:
    tokenizer = lm.tokenizer
    call = [tokenizer.tool_call, *tokenizer.encode("6*7"), tokenizer.end_of_turn]
    answer = [*tokenizer.encode("6*7=42."), tokenizer.end_of_turn]
    model = Scripted(lm.config, [call, answer], set(tokenizer.stop_ids))
    model.opens = tokenizer.special["<|assistant|>"]
    scripted = LanguageModel("scripted", model, tokenizer)
    asked: list[str] = []

    def calculate(expression: str) -> str:
        asked.append(expression)
        return "42"

    talk = [{"role": "user", "content": "6*7?"}]
    steps = list(reply(scripted, talk, sampling=GREEDY, max_tokens=60, tools={"calculator": calculate}, top=3))
    assert asked == ["6*7"]
    assert [step for step in steps if isinstance(step, ToolStep)] == [ToolStep("calculator", "6*7", "42")]
    tokens = [step for step in steps if not isinstance(step, ToolStep)]
    assert "".join(step.text for step in tokens if step.forced) == "42"
    assert "".join(step.text for step in tokens if not step.forced) == "6*76*7=42."
    assert all(len(step.alternatives) == 3 for step in tokens)
    model.turn = -1
    assert answer_batch(scripted, [talk], max_tokens=60, tools={"calculator": calculate}) == ["6*7=42."]


def test_references_that_lead_nowhere_are_refused(lm: LanguageModel, tmp_path: Path) -> None:
    for reference, message in (
        (tmp_path / "none", "no model at"),
        (tmp_path, "no finished model"),
        (f"{lm.name}:sft", "no model of stage 'sft'; it has pretrain"),
        (f"{tmp_path}/none:sft", "no run at"),
    ):
        with pytest.raises(BadInput, match=message):
            load(reference)
    assert Tokenizer.load(Path(lm.name) / "pretrain/model").vocab_size == lm.config.vocab_size
