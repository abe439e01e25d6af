"""Reinforcement learning with verifiable rewards: group-relative policy optimisation, in its corrected form.

GRPO (Shao et al. 2024) samples a group of answers to each problem and moves the model towards those that did better
than their group. As published it divides by each answer's length and by the group's standard deviation, which favours
long wrong answers and problems that are nearly solved or nearly hopeless; without both divisions (Liu et al. 2025,
"Understanding R1-Zero-Like Training", eq. 3 and section 3.1) the gradient is that of the expected reward.

Each batch of answers is used for one update, so the ratio of new to old probability is one and needs no clipping; the
probabilities are those of the distribution that the answers were drawn from, temperature included.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from cutaway.align.conversations import Conversation, Materials, arithmetic
from cutaway.infer import Sampling, generate_batch
from cutaway.model import Transformer
from cutaway.runs import CutawayError, MetricsLog, Progress, Settings
from cutaway.tokens import Tokenizer
from cutaway.train import Rows
from cutaway.train.checkpoint import Checkpoints, Parts, Position, put_weights, weights_of
from cutaway.train.interruption import stoppable
from cutaway.train.objectives import language_loss, select
from cutaway.train.optimizer import Optimizer, OptimizerSettings


class Practice(Settings):
    """Arithmetic of each family, worked in steps, in proportion to one another."""

    product: float = Field(default=10, ge=0, description="two digits times one")
    three: float = Field(default=0, ge=0, description="three operands")
    add: float = Field(default=1, ge=0)
    subtract: float = Field(default=1, ge=0)

    def draw(self, materials: Materials, rng: random.Random, n: int) -> list[Conversation]:
        """`n` training problems."""
        families: tuple[arithmetic.Family, ...] = ("product", "three", "add", "subtract")
        drawn = rng.choices(families, weights=[getattr(self, family) for family in families], k=n)
        return [
            problem
            for family in families
            for problem in arithmetic.examples(materials, rng, drawn.count(family), "train", family)
        ]


class GrpoSettings(Settings):
    """How to practise."""

    practice: Practice = Practice()
    steps: int = Field(default=40, ge=0, description="updates; 0 leaves the model as it was")
    problems: int = Field(default=40, ge=1, description="problems an update")
    group: int = Field(default=8, ge=2, description="answers to each problem")
    max_tokens: int = Field(default=64, ge=1, description="tokens an answer may take")
    temperature: float = Field(default=0.8, gt=0, description="of the sampling and of the policy moved")
    replay_rows: int = Field(default=12, ge=0, description="rows of the fine-tuning data learned beside, an update")
    replay_weight: float = Field(default=1.0, ge=0, description="weight of their loss")
    warmup_steps: int = Field(default=3, ge=1, description="updates of rising learning rate; then it falls")
    optimizer: OptimizerSettings = OptimizerSettings(muon_lr=0.0025, adamw_lr=0.0005)
    checkpoint_seconds: float = Field(default=60.0, gt=0, description="seconds between checkpoints")

    def scale(self, step: int) -> float:
        """The learning rate of an update as a share of the highest."""
        return min((step + 1) / self.warmup_steps, (self.steps - step) / max(1, self.steps - self.warmup_steps), 1.0)


@dataclass(frozen=True)
class Rollouts:
    """Sampled answers, padded on the right: `tokens` `[answer, position]`, `rewards` `[problem, group]`.

    `sampled` `[answer, position]` marks the tokens that the model chose.
    """

    tokens: Int[Tensor, "answer position"]
    sampled: Bool[Tensor, "answer position"]
    rewards: Float[Tensor, "problem group"]
    lengths: Int[Tensor, "problem group"]


def grpo(
    model: Transformer,
    tokenizer: Tokenizer,
    draw: Callable[[random.Random, int], list[Conversation]],
    grade: Callable[[Conversation, str], bool],
    replay: Rows,
    settings: GrpoSettings,
    directory: Path,
    progress: Progress,
    seed: int,
) -> None:
    """Improve `model` in place on problems that `draw` gives and `grade` can check.

    `replay` are rows of earlier training that are learned beside, so that what was learned is kept. Writes
    `metrics.jsonl` and `checkpoints/`, and resumes from them to the same bits.
    """
    optimizer = Optimizer(model.requires_grad_(True), settings.optimizer)
    checkpoints = Checkpoints(directory / "checkpoints")
    position = Position()
    if found := checkpoints.load(weights_of(model)):
        position, parts = found
        put_weights(model, parts["model"], checkpoints.root)
        optimizer.load_state_dict(parts["optimizer"])
    log = MetricsLog(directory / "metrics.jsonl")
    log.truncate_after(position.step)
    saved_at = time.monotonic()

    def state() -> tuple[Position, Parts]:
        return position, {"model": weights_of(model), "optimizer": optimizer.state_dict()}

    with progress.task("rl", settings.steps, "updates") as task, stoppable() as stopping, checkpoints.kept(state):
        for step in range(position.step, settings.steps):
            began = time.perf_counter()
            problems = draw(random.Random(f"{seed} {step}"), settings.problems)
            rollouts = roll_out(model, tokenizer, problems, grade, settings, seed=seed * 1_000_003 + step)
            with stopping.hold():
                loss, norm = update(model, optimizer, rollouts, replay, settings, step)
                if not (abs(loss) < float("inf") and norm < float("inf")):
                    raise CutawayError(
                        f"the loss or its gradient is not finite at update {step}; lower rl.optimizer's rates"
                    )
                position = Position(step + 1, position.seconds + time.perf_counter() - began)
                figures = figures_of(rollouts)
                seconds = round(position.seconds, 3)
                log.append({"step": step + 1, "seconds": seconds, "loss": loss, "grad_norm": norm, **figures})
            task.update(step + 1, reward=figures["reward"], length=figures["correct_length"])
            if step + 1 == settings.steps or time.monotonic() - saved_at > settings.checkpoint_seconds:
                checkpoints.save(*state())
                saved_at = time.monotonic()
    model.eval().requires_grad_(False)


def roll_out(
    model: Transformer,
    tokenizer: Tokenizer,
    problems: Sequence[Conversation],
    grade: Callable[[Conversation, str], bool],
    settings: GrpoSettings,
    seed: int,
) -> Rollouts:
    """Sample a group of answers to each problem, and grade them: 1 for a right one, 0 for any other."""
    prompts = [tokenizer.encode_chat(problem.prompt) for problem in problems for _ in range(settings.group)]
    answers = generate_batch(
        model,
        prompts,
        max_tokens=settings.max_tokens,
        stop_ids=tokenizer.stop_ids,
        sampling=Sampling(settings.temperature, seed=seed),
        batch_size=len(prompts),
    )
    rewards = [
        float(answer[-1] == tokenizer.end_of_turn and grade(problem, tokenizer.decode(answer, skip_special=True)))
        for problem, answer in zip((p for p in problems for _ in range(settings.group)), answers, strict=True)
    ]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    tokens = torch.full((len(prompts), longest), tokenizer.end_of_text)
    sampled = torch.zeros(tokens.shape, dtype=torch.bool)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        tokens[i, :end] = torch.tensor([*prompt, *answer])
        sampled[i, len(prompt) : end] = True
    shape = (len(problems), settings.group)
    return Rollouts(tokens, sampled, torch.tensor(rewards).view(shape), sampled.sum(-1).view(shape))


def advantages(rewards: Float[Tensor, "problem group"]) -> Float[Tensor, "problem group"]:
    """How much better each answer did than its group: the reward less the group's mean, by nothing divided."""
    return rewards - rewards.mean(-1, keepdim=True)


def policy_loss(
    logits: Float[Tensor, "token vocab"],
    chosen: Int[Tensor, " token"],
    advantage: Float[Tensor, " token"],
    temperature: float,
    divisor: float,
) -> Float[Tensor, ""]:
    """Minus the sum of every sampled token's log-probability times its answer's advantage, over a constant.

    `logits` are those that each token was `chosen` from. The constant is the same for answers of every length.
    """
    logprobs = (logits / temperature).log_softmax(-1).gather(-1, chosen[:, None]).squeeze(-1)
    return -(logprobs * advantage).sum() / divisor


def update(
    model: Transformer, optimizer: Optimizer, rollouts: Rollouts, replay: Rows, settings: GrpoSettings, step: int
) -> tuple[float, float]:
    """One step along the policy's gradient and the replayed rows'; give the loss and the gradient's norm."""
    model.train()
    advantage = advantages(rollouts.rewards).flatten()
    # Groups that all did equally well teach nothing; leaving them out changes no gradient.
    useful = advantage.nonzero().flatten()
    # By length, so that a portion is padded little.
    useful = useful[rollouts.lengths.flatten()[useful].argsort()]
    divisor = float(len(advantage) * settings.max_tokens)
    total = 0.0
    for portion in useful.split(64) if len(useful) else ():
        ends = rollouts.sampled[portion].long().cumsum(-1).argmax(-1) + 1
        at = slice(0, int(ends.max()))
        tokens, sampled = rollouts.tokens[portion, at], rollouts.sampled[portion, at]
        # What stands at a position was chosen from the logits before it; of prompts and padding none are needed.
        logits = model.logits(model.hidden(tokens[:, :-1])[sampled[:, 1:]])
        of_token = advantage[portion].repeat_interleave(sampled[:, 1:].sum(-1))
        loss = policy_loss(logits, tokens[:, 1:][sampled[:, 1:]], of_token, settings.temperature, divisor)
        # In units of an answer, so that the weight of the replayed rows beside it does not hang on `max_tokens`.
        (loss * settings.max_tokens).backward()
        total += float(loss.detach()) * settings.max_tokens
    if settings.replay_rows and len(replay):
        rows = replay.batch(step % max(1, len(replay) // settings.replay_rows), settings.replay_rows)
        positions, chosen = select(rows["targets"], rows["learned"])
        if len(positions):
            loss = settings.replay_weight * language_loss(model, rows["tokens"], positions, chosen)
            loss.backward()
            total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
    # Nothing to learn from, when every group agreed and nothing is replayed, leaves the weights as they are.
    if 0 < norm < float("inf"):
        optimizer.step(settings.scale(step))
    optimizer.zero_grad()
    model.eval()
    return total, norm


def figures_of(rollouts: Rollouts) -> dict[str, float]:
    """Mean reward, share of problems with both right and wrong answers, and lengths in tokens, of one update."""
    rewards, lengths = rollouts.rewards, rollouts.lengths.float()
    right = rewards > 0
    mixed = (right.any(-1) & ~right.all(-1)).float().mean()
    return {
        "reward": float(rewards.mean()),
        "accuracy": float(right.float().mean()),
        "mixed_groups": float(mixed),
        "length": float(lengths.mean()),
        "correct_length": float(lengths[right].mean()) if right.any() else 0.0,
        "wrong_length": float(lengths[~right].mean()) if (~right).any() else 0.0,
    }
