"""What servers do without a plan: the arms that ours is compared with.

They share what is good about them all: batches up to the same budget of tokens, each call longest
first, and no work for callers who have left; but for the first, which has no bound at all.
"""

from collections import deque

from tests.server.batching.simulation import LIMITS, Call, Taken


class Fifo:
    """Whoever came first is served first, call after call; nobody is refused.

    What the simpler arms share: batches of the calls in turn, each call longest first, up to the
    same budget of tokens.
    """

    def __init__(self) -> None:
        self._queue: deque[Call] = deque()
        self._started: deque[tuple[Call, int]] = deque()  # pairs of calls that have begun

    def arrive(self, call: Call, now: float) -> bool:
        self._queue.append(call)
        return True

    def next(self, now: float) -> Call | None:
        return self._queue.popleft() if self._queue else None

    def take(self, now: float) -> Taken | None:
        pairs: list[tuple[Call, int]] = []
        longest = 0
        while True:
            if not self._started:
                call = self.next(now)
                if call is None:
                    break
                self._started.extend((call, each) for each in sorted(call.lengths, reverse=True))
            tokens = self._started[0][1]
            if pairs and (len(pairs) + 1) * max(longest, tokens) > LIMITS.max_tokens:
                break
            longest = max(longest, tokens)
            pairs.append(self._started.popleft())
        if not pairs:
            return None
        return Taken(
            len(pairs), longest, sum(each for _, each in pairs), [call for call, _ in pairs]
        )


class InTime(Fifo):
    """First come, first served, but for callers who have left."""

    def next(self, now: float) -> Call | None:
        while (call := super().next(now)) is not None and call.deadline <= now:
            pass
        return call


class Semaphore(InTime):
    """At most so many calls are inside, the others are refused."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self._places = places

    def arrive(self, call: Call, now: float) -> bool:
        running = len({id(each) for each, _ in self._started})
        return len(self._queue) + running < self._places and super().arrive(call, now)


class CoDel(InTime):
    """Controlled delay, as servers use it.

    Where no call of the last interval was served within the target, those that waited twice the
    target are dropped.
    """

    def __init__(self, target_s: float, interval_s: float) -> None:
        super().__init__()
        self._target_s = target_s
        self._interval_s = interval_s
        self._least_s = 0.0
        self._until = 0.0
        self.overloaded = False

    def next(self, now: float) -> Call | None:
        while (call := super().next(now)) is not None:
            waited_s = now - call.at
            self._observe(waited_s, now)
            if not (self.overloaded and waited_s > 2 * self._target_s):
                return call
        return None

    def _observe(self, waited_s: float, now: float) -> None:
        if now >= self._until:
            self.overloaded = self._least_s > self._target_s
            self._least_s = waited_s
            self._until = now + self._interval_s
        self._least_s = min(self._least_s, waited_s)


class AdaptiveLifo(CoDel):
    """Controlled delay that serves the newest first while it is overloaded."""

    def next(self, now: float) -> Call | None:
        if self.overloaded:
            self._queue.reverse()
            call = super().next(now)
            self._queue.reverse()
            return call
        return super().next(now)
