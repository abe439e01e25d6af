"""Sums as text: in what order digits are written, what a token is, and whether the way to the answer is written too.

A transformer writes from left to right, and each digit that it has written stands. On paper we add from the right,
because a digit depends on what the digits to its right have carried. Written as usual, the first digit of

    128+367=495

needs all six digits at once; written from the units up, 128+367=594, each digit needs two others and a carry that the
digit before gives away. Lee et al. (2023, "Teaching Arithmetic to Small Transformers") found that this alone makes the
difference between a small model that learns to add and one that does not, and that writing out the steps,

    128+367=8+7+0=15,2+6+1=09,1+3+0=04;495        (a digit of each, the carry; then the new carry and the digit)

needs the fewest examples of all. How a text is cut decides too: a model that reads 128 as one token cannot see its
digits, and one whose tokens are learned pieces (12|8, 1|28) sees them now here, now there.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from cutaway.runs import BadInput
from cutaway.tokens import ForeignTokenizer, Tokenizer
from cutaway.tokens.characters import UNKNOWN
from cutaway.tokens.special import END_OF_TEXT

Units = Literal["characters", "numbers", "bpe"]
Order = Literal["plain", "answer-reversed", "reversed"]
Outcome = Literal["right", "a carry", "one digit", "more digits", "no number"]
"""What became of a problem; `a carry`: wrong by 1, 10, 100 ..., as after a carry that was forgotten or made up."""

NUMBER = Regex(r"\d+|.")
"""Where no token may cross: the ends of a number, and each mark."""


@dataclass(frozen=True)
class Problem:
    """A sum of two numbers, a + b."""

    a: int
    b: int

    @property
    def answer(self) -> int:
        """What is right."""
        return self.a + self.b

    @property
    def commuted(self) -> Problem:
        """The same numbers the other way round."""
        return Problem(self.b, self.a)

    @property
    def columns(self) -> list[tuple[int, int, int]]:
        """From the units up: a digit of each number, and what the column before carried."""
        found, carry = list[tuple[int, int, int]](), 0
        for place in range(max(len(str(self.a)), len(str(self.b)))):
            x, y = self.a // 10**place % 10, self.b // 10**place % 10
            found.append((x, y, carry))
            carry = (x + y + carry) // 10
        return found

    @property
    def carries(self) -> int:
        """In how many columns something is carried."""
        return sum(x + y + carry >= 10 for x, y, carry in self.columns)


@dataclass(frozen=True)
class Form:
    """How problems are written.

    Attributes:
        units: what a token is: a character, a whole number, or a piece of a number that byte-pair encoding learned.
        order: the digits of the answer from the units up, those of all numbers, or none.
        steps: whether the columns come before the answer.
    """

    units: Units
    order: Order = "plain"
    steps: bool = False

    @classmethod
    def named(cls, name: str) -> Form:
        """The form that `name` describes in words: "characters answer-reversed", "bpe steps".

        Raises:
            BadInput: there is no such form.
        """
        units, *rest = name.split() or [""]
        steps = "steps" in rest
        order = [word for word in rest if word != "steps"] or ["plain"]
        orders = get_args(Order)
        if units not in get_args(Units) or len(order) > 1 or order[0] not in orders or len(rest) > 2:
            raise BadInput(
                f"{name!r} is no way to write sums: name what a token is ({', '.join(get_args(Units))}), then if you "
                f"like an order ({', '.join(orders)}) and steps, such as 'characters answer-reversed'"
            )
        if units == "numbers" and order[0] != "plain":
            raise BadInput(f"{name!r}: a number that is one token has no digits to reverse; leave out {order[0]}")
        return cls(cast("Units", units), cast("Order", order[0]), steps)

    def question(self, problem: Problem) -> str:
        """What the model is given."""
        return f"{self._operand(problem.a)}+{self._operand(problem.b)}="

    def reply(self, problem: Problem) -> str:
        """What it is to write."""
        answer = str(problem.answer)
        written = answer if self.order == "plain" else answer[::-1]
        if not self.steps:
            return written
        return ",".join(f"{x}+{y}+{c}={x + y + c:02d}" for x, y, c in problem.columns) + ";" + written

    def answer_in(self, reply: str) -> int | None:
        """The number that a reply gives as its answer; None if it gives none."""
        digits = reply.rpartition(";")[2] if self.steps else reply
        if not (digits.isascii() and digits.isdigit()):
            return None
        return int(digits if self.order == "plain" else digits[::-1])

    def _operand(self, number: int) -> str:
        return str(number)[::-1] if self.order == "reversed" else str(number)


def tokenizer_of(units: Units, texts: Sequence[str], n_pieces: int) -> Tokenizer:
    """The tokenizer of some sums: of their characters, of their whole numbers, or of pieces learned from them.

    `n_pieces` is how many tokens there are to be of learned pieces. Token 0 ends a text; where numbers are tokens, 1 is
    what every number is read as that is not among them.
    """
    cut = pre_tokenizers.Split(NUMBER, behavior="isolated")
    if units == "characters":
        # Byte-pair encoding that has learned no pairs yet.
        backend = Backend(models.BPE(_numbered([END_OF_TEXT], set("".join(texts))), []))
    elif units == "numbers":
        parts = {part for text in texts for part, _ in cut.pre_tokenize_str(text)}
        backend = Backend(models.WordLevel(_numbered([END_OF_TEXT, UNKNOWN], parts), unk_token=UNKNOWN))
        backend.pre_tokenizer = cut
    else:
        backend = Backend(models.BPE())
        backend.pre_tokenizer = cut
        alphabet = sorted(set("".join(texts)))
        trainer = trainers.BpeTrainer(
            vocab_size=n_pieces, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
        )
        backend.train_from_iterator(texts, trainer)
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return ForeignTokenizer(backend, ends=[0], settings={"pad_token": END_OF_TEXT})


def _numbered(special: Sequence[str], parts: Iterable[str]) -> dict[str, int]:
    return {part: i for i, part in enumerate([*special, *sorted(parts, key=lambda part: (len(part), part))])}


@dataclass(frozen=True)
class Problems:
    """Problems to learn from, and four kinds to be asked.

    Attributes:
        training: learned from. Where a + b is among them, b + a is not.
        heldout: of numbers as large, seen in neither order.
        commuted: b + a where a + b was learned.
        longer: of numbers with one digit more.
        seen: some of those that were learned.
    """

    training: list[Problem]
    heldout: list[Problem]
    commuted: list[Problem]
    longer: list[Problem]
    seen: list[Problem]


def draw_problems(digits: int, n_training: int, n_asked: int, seed: int) -> Problems:
    """Different problems of numbers with up to `digits` digits, and `n_asked` of each kind to ask.

    To learn from there are `n_training`, or fewer: with those held out no more than half of all that there are.

    Of all numbers below 10^digits few are short. So a tenth of the problems is drawn from numbers below
    10^(digits - 1), a hundredth from those below 10^(digits - 2), and so on (Lee et al. 2023, section 3); what is held
    out is drawn in the same way.

    Raises:
        BadInput: there are not enough of them.
    """
    rng, highest = random.Random(seed), 10**digits
    half = highest * (highest + 1) // 4
    n_training = min(n_training, half - n_asked)
    if n_training < n_asked:
        raise BadInput(
            f"numbers of up to {digits} digit{'s' * (digits > 1)} have {highest * (highest + 1) // 2:,} different "
            f"sums, of which at most half are taken: too few to hold {n_asked:,} out and learn from as many; "
            "ask fewer, or give more digits"
        )
    n = n_training + n_asked
    drawn: dict[frozenset[int], Problem] = {}
    for size in range(1, digits + 1):
        all_of_size = 10**size * (10**size + 1) // 2
        goal = n if size == digits else len(drawn) + min(n // 10 ** (digits - size), all_of_size // 2)
        while len(drawn) < goal:
            problem = Problem(rng.randrange(10**size), rng.randrange(10**size))
            drawn.setdefault(frozenset((problem.a, problem.b)), problem)
    problems = list(drawn.values())
    rng.shuffle(problems)
    training, heldout = problems[:n_training], problems[n_training:]
    seen = rng.sample(training, min(n_asked, n_training))
    longer = [Problem(*(rng.randrange(highest, 10 * highest) for _ in range(2))) for _ in range(n_asked)]
    return Problems(training, heldout, [problem.commuted for problem in seen if problem.a != problem.b], longer, seen)


def digits_right(problem: Problem, answer: int | None) -> list[bool]:
    """For each digit of the right answer, from the units up, whether the given answer has it there."""
    given = "" if answer is None else str(answer)[::-1]
    return [given[place : place + 1] == digit for place, digit in enumerate(str(problem.answer)[::-1])]


def outcome(problem: Problem, answer: int | None) -> Outcome:
    """What became of a problem."""
    if answer is None:
        return "no number"
    wrong = abs(answer - problem.answer)
    if wrong == 0:
        return "right"
    if str(wrong).rstrip("0") == "1":
        return "a carry"
    same_length = len(str(answer)) == len(str(problem.answer))
    return "one digit" if same_length and digits_right(problem, answer).count(False) == 1 else "more digits"
