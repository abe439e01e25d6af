"""How fast a caller may ask: requests and tokens a minute, and answers at the same time."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from cutaway.serve.errors import ApiError
from cutaway.serve.limits import CallerLimits

MAX_CALLERS = 10_000
"""Callers that are remembered; those who asked longest ago are forgotten first."""
WRONG_KEYS_PER_MINUTE = 20
"""Wrong keys that one address may show."""


@dataclass
class Bucket:
    """`per_minute` units flow in evenly, and as many are kept; use beyond leaves a debt (a token bucket)."""

    per_minute: int
    level: float
    at: float

    def fill(self, now: float) -> None:
        """Let in what has come since."""
        self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now

    def seconds_until(self, level: float) -> float:
        """How long it takes until so much is there."""
        return max(0.0, (level - self.level) * 60 / self.per_minute)


@dataclass
class Use:
    """What one caller has used of late."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    running: int = 0
    wrong_keys: Bucket = field(default_factory=lambda: Bucket(WRONG_KEYS_PER_MINUTE, WRONG_KEYS_PER_MINUTE, 0.0))


@dataclass(frozen=True)
class Caller:
    """Who asks: the holder of a key, or whoever is at an address."""

    name: str
    """The key's name, or `address:` and the address."""
    limits: CallerLimits
    models: frozenset[str] | None = None
    """Models it may ask for; None for all."""


class Rates:
    """What every caller has used; all methods are called on the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: OrderedDict[str, Use] = OrderedDict()

    def request(self, caller: Caller) -> dict[str, str]:
        """Count a request; gives the headers that tell how many are left.

        Raises:
            ApiError: 429, there were too many; the header Retry-After says for how long.
        """
        use, now = self._use(caller.name), self._clock()
        most = caller.limits.requests_per_minute
        if most is None:
            return {}
        bucket = use.requests = _bucket(use.requests, most, now)
        if bucket.level < 1:
            wait = bucket.seconds_until(1)
            raise _too_many(f"over the limit of {most} requests a minute", "requests", wait, _left(bucket))
        bucket.level -= 1
        return _left(bucket)

    def begin(self, caller: Caller, answers: int) -> Reservation:
        """Take room for so many answers at the same time; `Reservation.end` gives it back.

        Raises:
            ApiError: 429, too many are running, or the tokens of the minute are used up.
        """
        use, now = self._use(caller.name), self._clock()
        most = caller.limits.tokens_per_minute
        if most is not None:
            bucket = use.tokens = _bucket(use.tokens, most, now)
            if bucket.level <= 0:
                raise _too_many(f"over the limit of {most} tokens a minute", "tokens", bucket.seconds_until(1), {})
        running = caller.limits.running
        if running is not None and use.running + answers > running:
            raise _too_many(f"over the limit of {running} answers at the same time", "running", 2.0, {})
        use.running += answers
        return Reservation(use, answers)

    def wrong_key(self, address: str) -> None:
        """Count a wrong key shown from an address."""
        use, now = self._use(address), self._clock()
        use.wrong_keys.fill(now)
        use.wrong_keys.level -= 1

    def may_try_key(self, address: str) -> None:
        """Raise `ApiError` 429 where too many wrong keys came from an address."""
        use = self._uses.get(address)
        if use is None:
            return
        use.wrong_keys.fill(self._clock())
        if use.wrong_keys.level < 1:
            raise _too_many("too many wrong keys", "wrong_keys", use.wrong_keys.seconds_until(1), {})

    def _use(self, name: str) -> Use:
        use = self._uses.setdefault(name, Use())
        self._uses.move_to_end(name)
        if len(self._uses) > MAX_CALLERS:
            self._uses.popitem(last=False)
        return use


class Reservation:
    """Room for some answers of one caller."""

    def __init__(self, use: Use, answers: int) -> None:
        self._use = use
        self._answers = answers

    def charge(self, tokens: int) -> None:
        """Count tokens that were read or written; they may take the minute's account below zero."""
        if self._use.tokens is not None:
            self._use.tokens.level -= tokens

    def end(self) -> None:
        """Give the room back; once is enough, and more do no harm."""
        self._use.running -= self._answers
        self._answers = 0


def _bucket(bucket: Bucket | None, per_minute: int, now: float) -> Bucket:
    if bucket is None or bucket.per_minute != per_minute:  # the limit may have been changed in the file of keys
        return Bucket(per_minute, per_minute, now)
    bucket.fill(now)
    return bucket


def _left(bucket: Bucket) -> dict[str, str]:
    """OpenAI's headers."""
    return {
        "x-ratelimit-limit-requests": str(bucket.per_minute),
        "x-ratelimit-remaining-requests": str(max(0, int(bucket.level))),
        "x-ratelimit-reset-requests": f"{bucket.seconds_until(bucket.per_minute):.3f}s",
    }


def _too_many(message: str, code: str, seconds: float, headers: dict[str, str]) -> ApiError:
    wait = max(1, math.ceil(seconds))
    return ApiError(
        429,
        f"{message}; try again in {wait} s",
        code=f"rate_limit_{code}",
        headers={**headers, "Retry-After": str(wait)},
    )
