"""GRPO: its gradient against the definition, its advantages against the paper's correction, and that it learns."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from cutaway.align.conversations.conversation import Conversation, exchange
from cutaway.align.grpo import GrpoSettings, Rollouts, advantages, figures_of, grpo, policy_loss, roll_out, update
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import MetricsLog, SilentProgress
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.train import Example, LoopSettings, Rows, Source, Watch, lay_out, train
from cutaway.train.optimizer import Optimizer, OptimizerSettings


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(
        TokenizerSettings(vocab_size=300), ["say a number: 0123456789"], tmp_path_factory.mktemp("t")
    )


def new_model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(tokenizer.vocab_size, 1, 32, 2, 1, 16, 64, context=64))


def replay_rows(tokenizer: Tokenizer) -> Rows:
    return lay_out([Source("text", [Example(tokenizer.encode("say a number: "))], 1.0)], 16, 16, seed=0)


def numbers(rng: random.Random, n: int) -> list[Conversation]:
    return [exchange("say a number", "7", "test", "7") for _ in range(n)]


def is_seven(conversation: Conversation, reply: str) -> bool:
    return reply.startswith("7")


def test_advantages_are_rewards_less_the_groups_mean_and_nothing_else() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    expected = torch.tensor([[0.75, -0.25, -0.25, -0.25], [0.25, 0.25, 0.25, -0.75], [0, 0, 0, 0]])
    torch.testing.assert_close(advantages(rewards), expected)


def test_the_gradient_is_the_policy_gradient_of_the_distribution_sampled_from() -> None:
    """d/dlogits of -A log softmax(logits / T)[token] is A (softmax - onehot) / T."""
    torch.manual_seed(0)
    logits = torch.randn(6, 7, dtype=torch.double, requires_grad=True)
    chosen = torch.randint(0, 7, (6,))
    advantage = torch.tensor([0.5, 0.5, -0.25, -0.25, -0.25, 0], dtype=torch.double)
    temperature, divisor = 0.7, 13.0
    policy_loss(logits, chosen, advantage, temperature, divisor).backward()
    probabilities = (logits.detach() / temperature).softmax(-1)
    onehot = torch.nn.functional.one_hot(chosen, 7)
    torch.testing.assert_close(logits.grad, advantage[:, None] * (probabilities - onehot) / temperature / divisor)


def test_an_answers_length_does_not_change_the_weight_of_its_tokens() -> None:
    for length in (2, 8):
        logits = torch.zeros(length, 4, requires_grad=True)
        policy_loss(logits, torch.zeros(length, dtype=torch.long), torch.ones(length), 1.0, 10.0).backward()
        assert logits.grad is not None
        assert logits.grad[0, 0].item() == pytest.approx(-0.75 / 10)


def test_an_update_moves_along_the_sum_over_all_sampled_tokens(tokenizer: Tokenizer) -> None:
    """Against the plain double loop: every answer by itself, every one of its sampled tokens."""
    model, by_hand = new_model(tokenizer), new_model(tokenizer)
    tokens = torch.randint(5, tokenizer.vocab_size, (4, 9))
    sampled = torch.zeros(4, 9, dtype=torch.bool)
    for row, (start, end) in enumerate([(2, 5), (3, 9), (1, 4), (4, 6)]):
        sampled[row, start:end] = True
    rewards = torch.tensor([[1.0, 0, 0, 0]])
    rollouts = Rollouts(tokens, sampled, rewards, sampled.sum(-1).view(1, 4))
    settings = GrpoSettings(temperature=0.7, max_tokens=10, replay_rows=0, steps=4)
    gradients: dict[str, torch.Tensor] = {}
    total = torch.zeros(())
    for row in range(4):
        logprobs = (by_hand(tokens[row : row + 1])[0] / 0.7).log_softmax(-1)
        for at in range(1, 9):
            if sampled[row, at]:
                total = total - (rewards[0, row] - rewards.mean()) * logprobs[at - 1, tokens[row, at]]
    (total / 4).backward()

    class Kept(Optimizer):
        def step(self, scale: float) -> None:
            gradients.update({n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None})

    _, norm = update(model, Kept(model, settings.optimizer), rollouts, replay_rows(tokenizer), settings, 0)
    scale = min(1.0, 1.0 / (norm + 1e-6))
    for name, weight in by_hand.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(gradients[name], weight.grad * scale, rtol=1e-3, atol=1e-6)


def test_rollouts_mark_what_was_sampled_and_grade_it(tokenizer: Tokenizer) -> None:
    settings = GrpoSettings(problems=3, group=4, max_tokens=6)
    rollouts = roll_out(new_model(tokenizer), tokenizer, numbers(random.Random(0), 3), is_seven, settings, seed=1)
    prompt = tokenizer.encode_chat(numbers(random.Random(0), 1)[0].prompt)
    assert rollouts.rewards.shape == (3, 4)
    assert not rollouts.sampled[:, : len(prompt)].any()
    assert torch.equal(rollouts.sampled.sum(-1).view(3, 4), rollouts.lengths)
    again = roll_out(new_model(tokenizer), tokenizer, numbers(random.Random(0), 3), is_seven, settings, seed=1)
    assert torch.equal(again.tokens, rollouts.tokens)


def taught_any_digit(tokenizer: Tokenizer, directory: Path) -> Transformer:
    """A model that answers with a random digit."""
    talks = [
        [{"role": "user", "content": "say a number"}, {"role": "assistant", "content": digit}] for digit in "0123456789"
    ]
    settings = LoopSettings(tokens=150 * 128, batch_tokens=128, row_length=32, compile=False)
    examples = [Example(*tokenizer.encode_chat_masked(talk)) for talk in talks]
    rows = lay_out([Source("chat", examples, 1.0)], settings.steps * settings.batch_rows, 32, seed=0)
    model = new_model(tokenizer)
    train(model, rows, settings, directory, SilentProgress(), Watch(10**9, lambda model, step: {}), "digits")
    return model


def test_it_learns_what_is_rewarded_and_resumes_to_the_same_bits(tokenizer: Tokenizer, tmp_path: Path) -> None:
    settings = GrpoSettings(
        steps=30, problems=4, group=16, max_tokens=3, replay_rows=2, replay_weight=0.01, checkpoint_seconds=1e-6,
        optimizer=OptimizerSettings(muon_lr=0.02, adamw_lr=0.01),
    )  # fmt: skip
    start = taught_any_digit(tokenizer, tmp_path / "sft")

    def practise(directory: Path, stop_after: int | None = None) -> Transformer:
        model, drawn = new_model(tokenizer), 0
        model.load_state_dict(start.state_dict())

        def draw(rng: random.Random, n: int) -> list[Conversation]:
            nonlocal drawn
            drawn += 1
            if stop_after is not None and drawn > stop_after:
                raise KeyboardInterrupt
            return numbers(rng, n)

        rows = replay_rows(tokenizer)
        grpo(model, tokenizer, draw, is_seven, rows, settings, directory, SilentProgress(), seed=1)
        return model

    whole = practise(tmp_path / "whole")
    metrics = MetricsLog.read(tmp_path / "whole/metrics.jsonl")
    assert metrics[0]["accuracy"] < 0.4
    assert metrics[-1]["accuracy"] > 0.8
    with pytest.raises(KeyboardInterrupt):
        practise(tmp_path / "cut", 11)
    resumed = practise(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_figures_tell_right_from_wrong() -> None:
    lengths = torch.tensor([[2, 4], [6, 8]])
    rollouts = Rollouts(
        torch.zeros(4, 8), torch.zeros(4, 8, dtype=torch.bool), torch.tensor([[1.0, 0], [1, 1]]), lengths
    )
    figures = figures_of(rollouts)
    assert figures["accuracy"] == 0.75
    assert figures["mixed_groups"] == 0.5
    assert figures["correct_length"] == pytest.approx(16 / 3)
    assert figures["wrong_length"] == 4
