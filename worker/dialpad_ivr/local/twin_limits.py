"""The double's rate limits: every window that a server might count in, sliding and fixed, on arrival."""

from __future__ import annotations

from collections import deque

from pydantic import BaseModel, ConfigDict, Field

from dialpad_ivr.contract import COMPANY_LIMIT, COMPANY_WINDOW_SECONDS, PATCH_LIMIT, PATCH_WINDOW_SECONDS


class LimitsConfig(BaseModel):
    """The limits of every company, each over a sliding and over a fixed window."""

    model_config = ConfigDict(extra="forbid")

    enforce: bool = True
    patch_limit: int = Field(default=PATCH_LIMIT, ge=1)
    patch_window: float = Field(default=PATCH_WINDOW_SECONDS, gt=0, description="Seconds.")
    company_limit: int = Field(default=COMPANY_LIMIT, ge=1)
    company_window: float = Field(default=COMPANY_WINDOW_SECONDS, gt=0, description="Seconds.")
    sliding: bool = True
    fixed: bool = True


class _Counter:
    """One limit: what it let through, and the most that arrived in any window of it."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self._passed: deque[float] = deque()
        self._arrived: deque[float] = deque()
        self._fixed_window, self._fixed_count = -1, 0
        self.most_passed = self.most_arrived = 0

    def arrive(self, now: float) -> None:
        self._arrived.append(now)
        _forget(self._arrived, now - self.seconds)
        _forget(self._passed, now - self.seconds)
        self.most_arrived = max(self.most_arrived, len(self._arrived))
        window = int(now // self.seconds)
        if window != self._fixed_window:
            self._fixed_window, self._fixed_count = window, 0

    def wait(self, now: float, *, sliding: bool, fixed: bool) -> float:
        """Seconds until there is room; 0 if there is."""
        waits = [0.0]
        if sliding and len(self._passed) >= self.limit:
            waits.append(self._passed[0] + self.seconds - now)
        if fixed and self._fixed_count >= self.limit:
            waits.append((self._fixed_window + 1) * self.seconds - now)
        return max(waits)

    def pass_(self, now: float) -> None:
        self._passed.append(now)
        self._fixed_count += 1
        self.most_passed = max(self.most_passed, len(self._passed))


class Limits:
    """Both limits of every company. A refused call uses nothing up."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._counters: dict[str, tuple[_Counter, _Counter]] = {}

    def admit(self, company: str, now: float, *, patch: bool) -> float:
        """Count an arrival; returns 0, or the seconds after which it would be let through.

        Args:
            company: Whose limits.
            now: Monotonic seconds.
            patch: Whether it is a PATCH, which both limits count.
        """
        config = self._config
        if company not in self._counters:
            self._counters[company] = (
                _Counter(config.patch_limit, config.patch_window),
                _Counter(config.company_limit, config.company_window),
            )
        counters = self._counters[company] if patch else self._counters[company][1:]
        for counter in counters:
            counter.arrive(now)
        wait = max(counter.wait(now, sliding=config.sliding, fixed=config.fixed) for counter in counters)
        if wait > 0 and config.enforce:
            return wait
        for counter in counters:
            counter.pass_(now)
        return 0.0

    def summary(self) -> dict[str, dict[str, int]]:
        """By company: the most calls let through, and arrived, in any sliding window of each limit."""
        return {
            company: {
                "most_patches_passed": patch.most_passed,
                "most_patches_arrived": patch.most_arrived,
                "most_calls_passed": calls.most_passed,
                "most_calls_arrived": calls.most_arrived,
            }
            for company, (patch, calls) in self._counters.items()
        }


def _forget(moments: deque[float], before: float) -> None:
    while moments and moments[0] <= before:
        moments.popleft()
