"""Continuous batching: in every step all that run go on together, whoever has ended leaves and whoever waits comes in.

Nothing here knows of threads but the interjections; `cutaway.infer.engine` gives it one of its own (Yu et al. 2022,
Orca, section 3.2, for scheduling by step; Agrawal et al. 2023, SARATHI, for reading prompts in pieces beside it).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.choosing import choose
from cutaway.infer.figures import Figures
from cutaway.infer.generate import probabilities
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.pages import PAGE, Pages
from cutaway.infer.prefixes import Prefixes
from cutaway.infer.request import Ended, Event, Interjection, Reason, Request
from cutaway.infer.runner import Row, Runner, TorchRunner, window
from cutaway.infer.scheduler import Plan, Scheduler
from cutaway.infer.telling import Teller
from cutaway.infer.unfinished import Unfinished
from cutaway.model import Transformer
from cutaway.model.taps import UNTOUCHED
from cutaway.runs import BadInput, CutawayError

Found = Float[Tensor, "n vocab"] | Exception
"""A row's logits, or why there are none."""
RunnerOf = Callable[[Transformer, Pages], Runner]

INTERJECTING = 8
"""Interjections that are worked out at once."""


class Batching:
    """All completions that wait or run, and the steps that bring them on."""

    def __init__(
        self,
        lm: LanguageModel,
        pages: Pages,
        *,
        runner: RunnerOf = TorchRunner,
        most_rows: int = 32,
        chunk: int = 256,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called from another thread when an interjection has come. Raises `BadInput` for no decoder."""
        config = lm.config
        if config.kind != "decoder":
            raise BadInput(
                f"{lm.name} is an {config.kind}, and the engine runs decoders; write with a `Session` instead"
            )
        self.lm, self.pages, self.wake = lm, pages, wake
        self.context = min(config.context, pages.count * PAGE)
        self.runner = runner(lm.model, pages)
        # Who looks inside is served by the one that can show it.
        self.showing = self.runner if isinstance(self.runner, TorchRunner) else TorchRunner(lm.model, pages)
        self.prefixes = Prefixes(pages)
        self.scheduler = Scheduler(self.prefixes, most_rows=most_rows, chunk=chunk, window=window(config))
        self.figures = Figures()
        self.arrived = 0
        self.tellers: dict[Unfinished, Teller] = {}
        self.come: deque[tuple[Unfinished, Interjection | Exception | None]] = deque()
        self.interjecting = ThreadPoolExecutor(INTERJECTING, thread_name_prefix="interjection")

    def completions(self, request: Request, tell: Callable[[Event], None]) -> list[Unfinished]:
        """A request's completions. Raises `BadInput` for a prompt that is too long or holds no tokens of the model."""
        if len(request.prompt) > self.context:
            whole = self.lm.config.context
            held = "" if self.context == whole else f", of which memory holds {self.context}"
            length = len(request.prompt)
            raise BadInput(f"a prompt of {length} tokens does not fit into the model's context of {whole}{held}")
        vocab = self.lm.config.vocab_size
        wrong = next((token for token in request.prompt if not 0 <= token < vocab), None)
        if wrong is not None:
            raise BadInput(f"the prompt holds the token {wrong}; the model's tokens go from 0 to {vocab - 1}")
        return [Unfinished(request, i, vocab, tell) for i in range(request.n)]

    def add(self, completion: Unfinished) -> None:
        """Put a completion in line, behind all that came before and are as urgent."""
        completion.order = self.arrived
        self.arrived += 1
        self.tellers[completion] = Teller(completion.request, completion.index, self.lm.tokenizer, completion.tell)
        self.scheduler.add(completion)

    @property
    def live(self) -> list[Unfinished]:
        """All that have not ended."""
        return list(self.tellers)

    @torch.inference_mode()
    def step(self) -> bool:
        """Bring everything on by a step; whether there was anything to compute."""
        self.resume()
        self.dismiss()
        plan = self.scheduler.plan()
        if not plan:
            return False
        caught_up: list[tuple[Unfinished, Tensor]] = []
        computed = self.computed(plan)
        self.figures.stepped(len(plan), sum(n for _, n in plan))
        for (completion, n), found in zip(plan, computed, strict=True):
            if isinstance(found, Exception):
                self.end(completion, "error", found)
                continue
            self.tell_read(completion, n, found)
            self.scheduler.has_read(completion, n)
            if completion.pending:
                continue
            if self.full(completion):
                self.end(completion, "length")
            else:
                caught_up.append((completion, found[-1]))
        if caught_up:
            self.write([completion for completion, _ in caught_up], torch.stack([logits for _, logits in caught_up]))
        return True

    def computed(self, plan: Plan) -> list[Found]:
        """Each row's logits. Where a step fails, each row is tried alone, so that only those at fault end."""
        rows = [self.row(completion, n) for completion, n in plan]
        try:
            return list(self.run(rows))
        except Exception as error:
            if len(rows) == 1:
                return [error]
            return [self.computed([one])[0] for one in plan]

    def run(self, rows: Sequence[Row]) -> list[Tensor]:
        """The logits of rows of which some may be watched."""
        watched = [row for row in rows if row.tap is not UNTOUCHED]
        if not watched:
            return self.runner.run(rows)
        plain = [row for row in rows if row.tap is UNTOUCHED]
        shown, found = iter(self.showing.run(watched)), iter(self.runner.run(plain) if plain else [])
        return [next(found if row.tap is UNTOUCHED else shown) for row in rows]

    def row(self, completion: Unfinished, n: int) -> Row:
        """What a completion reads in this step. Logits at each token where the next is known and to be told."""
        start = completion.read
        every = max(completion.told, start + 1) < min(len(completion.ids), start + n + 1)
        tokens = completion.ids[start : start + n]
        return Row(tokens, start, completion.pages, every, completion.request.tap)

    def tell_read(self, completion: Unfinished, n: int, logits: Tensor) -> None:
        """Tell of tokens that the model did not choose what it thought of them, now that those before are read."""
        ids, after = completion.ids, completion.read + n
        if completion.told >= len(ids):
            return
        places = range(max(completion.told, completion.read + 1), min(len(ids), after + 1))
        if not places:
            return
        # The last of the logits is for the token at `after`.
        rows = logits[[place - after - 1 for place in places]]
        teller, prompt = self.tellers[completion], len(completion.request.prompt)
        tokens = [ids[place] for place in places]
        for place, token, (logprob, alternatives) in zip(
            places, tokens, probabilities(rows, tokens, completion.request.alternatives), strict=True
        ):
            tell = teller.prompt_token if place < prompt else teller.forced
            tell(token, logprob, alternatives)
        completion.told = places[-1] + 1

    def full(self, completion: Unfinished) -> bool:
        """Whether there is no room for another token."""
        return completion.written >= completion.request.max_tokens or len(completion.ids) >= self.context

    def write(self, completions: Sequence[Unfinished], logits: Float[Tensor, "completion vocab"]) -> None:
        """Choose the next token of each that has read all it has."""
        chosen = choose(completions, logits)
        most = max(completion.request.alternatives for completion in completions)
        tokens = [token if isinstance(token, int) else 0 for token in chosen]
        for completion, token, (logprob, alternatives) in zip(
            completions, chosen, probabilities(logits, tokens, most), strict=True
        ):
            if isinstance(token, Exception):
                self.end(completion, "error", token)
                continue
            try:
                self.wrote(completion, token, logprob, alternatives[: completion.request.alternatives])
            except Exception as error:  # a constraint's: whatever it is, it ends its own completion and no other
                self.end(completion, "error", error)

    def wrote(self, completion: Unfinished, token: int, logprob: float, alternatives: list[tuple[int, float]]) -> None:
        """Add a token that the model chose, and end where it says so."""
        completion.ids.append(token)
        completion.told = len(completion.ids)
        completion.written += 1
        self.figures.written += 1
        if completion.history:
            completion.history.add(torch.tensor([token]))
        teller, request, constraint = self.tellers[completion], completion.request, completion.constraint
        teller.written(token, logprob, alternatives)
        if constraint:
            constraint.accept(token)
        if teller.stopped or (constraint and constraint.finished):
            self.end(completion, "stop")
        elif token in request.stop_ids:
            if request.interject and completion.written < request.max_tokens:
                self.interrupt(completion)
            else:
                self.end(completion, "stop")
        elif self.full(completion):
            self.end(completion, "length")

    def interrupt(self, completion: Unfinished) -> None:
        """Ask what is to be put before the model; meanwhile the completion keeps its pages and reads nothing."""
        completion.away = True
        turn, interject = completion.ids[completion.turn :], completion.request.interject
        assert interject is not None

        def work() -> None:
            try:
                found = interject(completion.index, turn)
            except Exception as error:
                found = error
            self.come.append((completion, found))
            self.wake()

        self.interjecting.submit(work)

    def resume(self) -> None:
        """Go on with those whose interjections have come."""
        while self.come:
            completion, found = self.come.popleft()
            if completion.ended:
                continue
            completion.away = False
            if found is None:
                self.end(completion, "stop")
            elif isinstance(found, Exception):
                self.end(completion, "error", found)
            elif len(completion.ids) + len(found.tokens) > self.context:
                self.end(completion, "length")
            else:
                self.tellers[completion].interrupted(found)
                completion.ids += found.tokens
                completion.turn = len(completion.ids)
                if completion.history:
                    completion.history.read[0, list(found.tokens)] = True

    def dismiss(self) -> None:
        """End those that nobody waits for any more."""
        now = time.monotonic()
        for completion in self.live:
            if completion.cancelled:
                self.end(completion, "cancelled")
            elif completion.deadline <= now:
                self.end(completion, "timed out")

    def end(self, completion: Unfinished, reason: Reason, error: Exception | None = None) -> None:
        """Let a completion go, and say why."""
        completion.ended = True
        self.scheduler.remove(completion)
        tail = self.tellers.pop(completion).finish()
        self.figures.ended[reason] += 1
        completion.tell(Ended(completion.index, reason, completion.written, completion.known, tail, error))

    def fail(self, error: BaseException) -> None:
        """End all that run: a step has failed in a way that leaves none of them out of doubt."""
        told = error if isinstance(error, Exception) else CutawayError(f"the engine was interrupted ({error!r})")
        for completion in list(self.scheduler.running):
            self.end(completion, "error", told)

    def close(self) -> None:
        """Let go of the threads that work out interjections; those at work go on to their end, unheard."""
        self.interjecting.shutdown(wait=False, cancel_futures=True)
