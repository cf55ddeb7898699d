"""A clock that only sleeping moves, for code that polls."""

from __future__ import annotations


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


class Notices(list[str]):
    """What was reported, and when."""

    def __init__(self, clock: FakeTime) -> None:
        super().__init__()
        self.clock = clock
        self.times: list[float] = []

    def __call__(self, text: str) -> None:
        self.append(text)
        self.times.append(self.clock.now)
