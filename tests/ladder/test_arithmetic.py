from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.ladder.arithmetic import Form, Problem, digits_right, draw_problems, outcome, tokenizer_of
from cutaway.runs import BadInput

NUMBERS = st.integers(0, 10**6)
FORMS = [
    "characters plain",
    "characters answer-reversed",
    "characters reversed",
    "characters steps",
    "characters reversed steps",
    "bpe plain",
    "bpe steps answer-reversed",
    "numbers plain",
    "numbers steps",
]


@given(NUMBERS, NUMBERS)
def test_columns_add_up_to_the_answer(a: int, b: int) -> None:
    problem = Problem(a, b)
    total, carry = 0, 0
    for place, (x, y, before) in enumerate(problem.columns):
        assert before == carry
        assert str(a)[::-1][place : place + 1] in (str(x), "")
        assert str(b)[::-1][place : place + 1] in (str(y), "")
        carry, digit = divmod(x + y + before, 10)
        total += digit * 10**place
    assert total + carry * 10 ** len(problem.columns) == a + b


def test_carries_are_counted() -> None:
    # A sum of numbers loses nine in its digits' sum for each carry (Legendre).
    rng = random.Random(0)
    for _ in range(200):
        a, b = rng.randrange(10**5), rng.randrange(10**5)
        of = lambda n: sum(map(int, str(n)))  # noqa: E731
        assert Problem(a, b).carries == (of(a) + of(b) - of(a + b)) // 9


def test_each_form_is_as_it_is_said_to_be() -> None:
    problem = Problem(128, 367)
    written = {name: Form.named(name).question(problem) + Form.named(name).reply(problem) for name in FORMS}
    assert written["characters plain"] == written["bpe plain"] == written["numbers plain"] == "128+367=495"
    assert written["characters answer-reversed"] == "128+367=594"
    assert written["characters reversed"] == "821+763=594"
    assert written["characters steps"] == "128+367=8+7+0=15,2+6+1=09,1+3+0=04;495"
    assert written["characters reversed steps"] == "821+763=8+7+0=15,2+6+1=09,1+3+0=04;594"
    uneven = Form.named("characters steps").reply(Problem(7, 95))
    assert uneven == "7+5+0=12,0+9+1=10;102"


@given(NUMBERS, NUMBERS, st.sampled_from(FORMS))
def test_the_answer_is_found_in_the_reply(a: int, b: int, name: str) -> None:
    form = Form.named(name)
    assert form.answer_in(form.reply(Problem(a, b))) == a + b


def test_what_is_no_number_is_none() -> None:
    plain, steps = Form.named("characters plain"), Form.named("characters steps")
    for reply in ("", "4+", "12=", "٣", " 12"):
        assert plain.answer_in(reply) is None
    assert steps.answer_in("1+1+0=02") is None
    assert steps.answer_in("1+1+0=02;") is None


@pytest.mark.parametrize("name", ["", "letters", "characters backwards", "bpe plain reversed", "characters steps a b"])
def test_a_form_that_there_is_not_is_bad_input(name: str) -> None:
    with pytest.raises(BadInput, match="is no way to write sums"):
        Form.named(name)


def test_a_number_that_is_a_token_cannot_be_reversed() -> None:
    with pytest.raises(BadInput, match="no digits to reverse"):
        Form.named("numbers reversed")


@pytest.mark.parametrize("name", FORMS)
def test_tokens_give_the_text_back(name: str) -> None:
    form, problems = Form.named(name), draw_problems(3, 400, 50, seed=1)
    texts = [form.question(p) + form.reply(p) for p in problems.training]
    tokenizer = tokenizer_of(form.units, texts, 80)
    assert tokenizer.stop_ids == {0}
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert 0 not in ids
        # Question and reply are encoded apart in training and asking: no token may reach over the border.
        question, reply = text.split("=", 1)
        assert ids == tokenizer.encode(question + "=") + tokenizer.encode(reply)


def test_what_a_token_is() -> None:
    texts = [f"{a}+{b}={a + b}" for a in range(100) for b in range(100)]

    def cut(units: str) -> list[str]:
        tokenizer = tokenizer_of(units, texts, 60)  # type: ignore[arg-type]
        return [tokenizer.decode([token]) for token in tokenizer.encode("34+57=91")]

    assert cut("characters") == list("34+57=91")
    assert cut("numbers") == ["34", "+", "57", "=", "91"]
    assert tokenizer_of("bpe", texts, 60).vocab_size == 60
    assert 5 <= len(cut("bpe")) <= 8
    # Pieces never hold a mark and a digit.
    pieces = tokenizer_of("bpe", texts, 60)
    names = [pieces.decode([token]) for token in range(1, 60)]
    assert all(name.isdigit() or len(name) == 1 for name in names)
    assert any(len(name) > 1 for name in names)


def test_a_number_beyond_the_vocabulary_is_read_as_unknown() -> None:
    tokenizer = tokenizer_of("numbers", ["1+2=3"], 0)
    one, plus, unknown, equals = tokenizer.encode("1+77=")
    assert len({one, plus, unknown, equals}) == 4
    assert tokenizer.encode("88") == [unknown]


def test_problems_are_apart() -> None:
    problems = draw_problems(3, 3000, 200, seed=4)
    pairs = [frozenset((p.a, p.b)) for p in problems.training]
    assert len(set(pairs)) == len(problems.training) == 3000
    assert len(problems.heldout) == 200
    assert not {frozenset((p.a, p.b)) for p in problems.heldout} & set(pairs)
    training = set(problems.training)
    assert 190 <= len(problems.commuted) <= 200
    for problem in problems.commuted:
        assert problem not in training
        assert problem.commuted in training
    assert set(problems.seen) <= training
    assert all(len(str(p.a)) == len(str(p.b)) == 4 for p in problems.longer)
    assert max(max(p.a, p.b) for p in problems.training) < 1000


def test_short_numbers_are_a_tenth_and_a_hundredth() -> None:
    problems = draw_problems(3, 9000, 1000, seed=2)
    both = problems.training + problems.heldout
    sizes = [len(str(max(p.a, p.b))) for p in both]
    # 27 of 1 digit are half of all; 1000 more of up to 2 are drawn, and 1% of the rest are as short by chance.
    assert 27 <= sizes.count(1) <= 60
    assert 1000 <= sizes.count(1) + sizes.count(2) <= 1200
    held_out_short = sum(len(str(max(p.a, p.b))) < 3 for p in problems.heldout)
    assert 60 <= held_out_short <= 150


def test_draws_follow_from_the_seed() -> None:
    assert draw_problems(2, 100, 20, seed=1) == draw_problems(2, 100, 20, seed=1)
    assert draw_problems(2, 100, 20, seed=1) != draw_problems(2, 100, 20, seed=2)


def test_of_few_problems_half_are_taken() -> None:
    problems = draw_problems(2, 20_000, 500, seed=1)
    # 100 · 101 / 2 = 5,050 sums of two numbers below 100.
    assert (len(problems.training), len(problems.heldout)) == (2525 - 500, 500)
    assert len(draw_problems(1, 20, 7, seed=1).training) == 20
    with pytest.raises(BadInput, match=r"up to 1 digit have 55 different sums.*too few to hold 14 out"):
        draw_problems(1, 30, 14, seed=1)


def test_digits_are_compared_from_the_units_up() -> None:
    assert digits_right(Problem(128, 367), 495) == [True, True, True]
    assert digits_right(Problem(128, 367), 485) == [True, False, True]
    assert digits_right(Problem(900, 100), 0) == [True, False, False, False]
    assert digits_right(Problem(1, 1), None) == [False]
    assert digits_right(Problem(1, 1), 12) == [True]


def test_outcomes() -> None:
    problem = Problem(128, 367)
    for answer, expected in {
        495: "right",
        None: "no number",
        485: "a carry",
        505: "a carry",
        1495: "a carry",
        435: "one digit",
        795: "one digit",
        594: "more digits",
        49: "more digits",
    }.items():
        assert outcome(problem, answer) == expected
