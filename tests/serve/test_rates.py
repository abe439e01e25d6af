"""Token buckets, with a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.serve.errors import ApiError
from cutaway.serve.limits import CallerLimits
from cutaway.serve.rates import MAX_CALLERS, Caller, Rates


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 100), st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60))
def test_never_more_than_the_limit_in_a_minute_beyond_what_was_saved_up(limit: int, pauses: list[float]) -> None:
    clock = Clock()
    rates, caller = Rates(clock), Caller("a", CallerLimits(requests_per_minute=limit))
    let_in: list[float] = []
    for pause in pauses:
        clock.now += pause
        try:
            rates.request(caller)
            let_in.append(clock.now)
        except ApiError as error:
            wait = int((error.headers or {})["Retry-After"])
            assert wait >= 1
            clock.now += wait
            rates.request(caller)  # what the header says is true
            let_in.append(clock.now)
    for start in let_in:
        assert sum(start <= at < start + 60 for at in let_in) <= 2 * limit + 1


def test_tokens_used_beyond_the_limit_are_a_debt() -> None:
    clock = Clock()
    rates, caller = Rates(clock), Caller("a", CallerLimits(tokens_per_minute=60))
    first = rates.begin(caller, 1)
    first.charge(180)
    first.end()
    with pytest.raises(ApiError) as caught:
        rates.begin(caller, 1)
    assert caught.value.headers == {"Retry-After": "121"}
    clock.now += 119
    with pytest.raises(ApiError):
        rates.begin(caller, 1)
    clock.now += 2
    rates.begin(caller, 1).end()


def test_ending_twice_gives_back_once() -> None:
    rates, caller = Rates(Clock()), Caller("a", CallerLimits(running=2))
    first, second = rates.begin(caller, 1), rates.begin(caller, 1)
    first.end()
    first.end()
    rates.begin(caller, 1)
    with pytest.raises(ApiError):
        rates.begin(caller, 1)
    second.end()


def test_a_changed_limit_holds_at_once() -> None:
    rates = Rates(Clock())
    rates.request(Caller("a", CallerLimits(requests_per_minute=1)))
    for _ in range(3):
        rates.request(Caller("a", CallerLimits(requests_per_minute=3)))
    with pytest.raises(ApiError):
        rates.request(Caller("a", CallerLimits(requests_per_minute=3)))


def test_only_so_many_callers_are_remembered() -> None:
    rates = Rates(Clock())
    for i in range(MAX_CALLERS + 100):
        rates.request(Caller(f"address:{i}", CallerLimits(requests_per_minute=1)))
    assert len(rates._uses) == MAX_CALLERS
