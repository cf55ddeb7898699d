"""The circuit of a company in memory and over a real Redis: when it opens, who probes, and when it closes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dialpad_ivr.pacing import circuit as rules
from dialpad_ivr.pacing.circuit import Failure, Outage
from dialpad_ivr.pacing.limiter import CircuitOpenError, CompanyLimiter, Permit, PermitDeferredError
from dialpad_ivr.settings import Settings
from support.windows import Clock, MakeLimiter

LEASE = rules.lease_seconds(Settings().deadline_seconds)


async def fail(one: CompanyLimiter, permit: Permit, target: str = "a", **fields: Any) -> CircuitOpenError | None:
    """Report a failed call; returns what the circuit says to it."""
    try:
        await one.failed(permit, Failure("http_500", target, **fields))
    except CircuitOpenError as exc:
        return exc
    return None


async def call(one: CompanyLimiter, target: str, **fields: Any) -> CircuitOpenError | None:
    """Send a call that fails."""
    return await fail(one, await one.permit(write=True), target, **fields)


async def open_circuit(one: CompanyLimiter, **fields: Any) -> CircuitOpenError:
    for target in "abc":
        opened = await call(one, target, **fields)
        if opened and opened.outage.opened:
            return opened
    raise AssertionError("it is closed")


async def parked(one: CompanyLimiter) -> CircuitOpenError:
    """Ask for a permit that there is none of."""
    with pytest.raises(CircuitOpenError) as caught:
        await one.permit(write=True)
    return caught.value


async def probe(one: CompanyLimiter, clock: Clock) -> Permit:
    """The next probe, when it is due."""
    clock.now += (await parked(one)).outage.wait_seconds
    permit = await one.permit(write=True)
    assert permit.outage is not None
    return permit


async def test_failures_of_several_targets_open_it_and_nothing_is_sent(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    assert await call(one, "a") is None
    suspected = await call(one, "b")
    assert suspected is not None
    assert suspected.outage == Outage("http_500", 0.0, rules.SHORTEST_WAIT, suspected=True)
    assert not one.circuit_open
    opened = await call(one, "c")
    assert opened is not None
    assert opened.outage.opened
    assert not opened.outage.suspected
    assert opened.outage.cause == "http_500"
    assert opened.pause_seconds == 0
    assert one.circuit_open
    for _ in range(50):
        exc = await parked(one)
        assert exc.seconds >= 1
        assert not exc.outage.opened
    clock.now += 0.4
    assert (await parked(one)).outage.age_seconds == pytest.approx(0.4)


async def test_one_failing_target_does_not_open_it(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    for _ in range(20):
        assert await call(one, "poison") is None


async def test_a_success_between_failures_keeps_it_closed(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    for number in range(20):
        told = await call(one, f"target {number}")
        assert bool(told and told.outage.suspected) == bool(number % 2)
        if number % 2:
            await one.succeeded(await one.permit(write=True))
            clock.now += 0.01


async def test_of_another_target_only_the_first_failure_costs_no_retry(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    told = [
        await call(one, target, retried=retried)
        for target, retried in zip("abababa", [0, 0, 1, 1, 0, 0, 1], strict=True)
    ]
    assert [bool(exc) for exc in told] == [False, True, *[False] * 5]


async def test_retries_of_failed_targets_are_no_evidence(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    for number in range(20):
        assert await call(one, f"target {number}", retried=True) is None
    for number in range(2):
        assert await call(one, f"target {number}") is None  # known
    told = await call(one, "target 2")
    assert told is not None
    assert told.outage.opened


async def test_a_retry_takes_no_evidence_back(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    for target in "ab":
        await call(one, target)
        await call(one, target, retried=True)
    told = await call(one, "c")
    assert told is not None
    assert told.outage.opened


async def test_a_retry_after_opens_it_at_once_and_names_the_time_of_the_probe(
    clock: Clock, limiter: MakeLimiter
) -> None:
    one = limiter()
    opened = await call(one, "a", retried=True, retry_after_seconds=7)
    assert opened is not None
    assert opened.outage.wait_seconds == pytest.approx(7)
    clock.now += 6.9
    await parked(one)
    clock.now += 0.2
    again = await fail(one, await one.permit(write=True), "a", retry_after_seconds=40)
    assert again is not None
    assert again.outage.wait_seconds == pytest.approx(40)
    assert again.outage.age_seconds == pytest.approx(7.1)
    assert not again.outage.opened
    assert (await parked(one)).outage.wait_seconds == pytest.approx(40)


async def test_a_retry_after_is_cut_to_the_longest_pause(clock: Clock, limiter: MakeLimiter) -> None:
    opened = await call(limiter(longest_pause_seconds=300), "a", retry_after_seconds=1e9)
    assert opened is not None
    assert opened.outage.wait_seconds == pytest.approx(300)


async def test_one_probe_at_a_time_is_sent(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    permit = await probe(one, clock)
    for _ in range(int(LEASE) - 1):
        clock.now += 1  # its answer takes its time: the next one would be due
        await parked(one)
    await fail(one, permit)
    assert (await one.permit(write=True)).outage is not None


async def test_who_comes_during_a_probe_returns_after_as_long_as_it_has_been(
    clock: Clock, limiter: MakeLimiter
) -> None:
    one = limiter()
    await open_circuit(one)
    for _ in range(20):
        await fail(one, await probe(one, clock))
    await probe(one, clock)
    waits = []
    for _ in range(3):
        clock.now += 2
        waits.append((await parked(one)).outage.wait_seconds)
    assert waits == pytest.approx([2, 4, 6])


async def test_probes_back_off_to_half_a_minute_at_most(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    sent = []
    for _ in range(30):
        permit = await probe(one, clock)
        sent.append(clock.now)
        await fail(one, permit)
    spaces = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert max(spaces) < 30
    assert min(spaces) >= 1
    assert sum(spaces[-10:]) > 10 * 0.8 * rules.LONGEST_SECONDS - 1
    # An outage of 20 s is noticed to be over within 10 s, and one of 4 minutes costs few calls.
    assert all(after - before < 10 for before, after in itertools.pairwise(sent) if before - sent[0] <= 20)
    assert sum(moment - sent[0] < 240 for moment in sent) < 30


async def test_a_call_that_failed_as_a_probe_returns_after_those_that_wait(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    permit = await probe(one, clock)
    last = max([(await parked(one)).seconds for _ in range(400)])
    failed = await fail(one, permit)
    assert failed is not None
    assert failed.seconds == pytest.approx(last + 2, abs=0.1)


async def test_a_probe_that_succeeds_closes_it(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    await one.succeeded(await probe(one, clock))
    assert not one.circuit_open
    clock.now += 0.1
    for _ in range(5):
        assert (await one.permit(write=True)).outage is None
    # It starts anew: by as many failures, and with the first back-off.
    for target in "ab":
        told = await call(one, target)
        assert not (told and told.outage.opened)
    opened = await call(one, "c")
    assert opened is not None
    assert opened.outage.opened
    assert opened.outage.wait_seconds <= 1


async def test_a_late_answer_of_before_does_not_close_it(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    early = await one.permit(write=True)
    await open_circuit(one)
    await one.succeeded(early)
    await parked(one)


async def test_a_late_failure_of_before_is_parked_and_moves_no_probe(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    early = await one.permit(write=True)
    await open_circuit(one, retry_after_seconds=5)
    late = await fail(one, early, "z", retry_after_seconds=200)
    assert late is not None
    assert (await parked(one)).outage.wait_seconds == pytest.approx(5)


async def test_a_probe_whose_worker_dies_is_followed_by_another(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    lost = await probe(one, clock)
    clock.now += LEASE - 0.5
    await parked(one)
    clock.now += 0.6
    second = await one.permit(write=True)
    assert second.outage is not None
    # The first one was only slow: it does not make room for a third.
    await fail(one, lost)
    clock.now += 3
    await parked(one)
    await one.succeeded(second)
    clock.now += 0.1
    assert (await one.permit(write=True)).outage is None


async def test_parked_calls_return_at_the_permitted_rate(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one, retry_after_seconds=10)
    returns = [clock.now + (await parked(one)).seconds for _ in range(100)]
    assert returns[0] == pytest.approx(clock.now + 10, abs=0.1)
    assert returns[-1] == pytest.approx(clock.now + 10 + 99 / 20, abs=0.5)
    # Parked again, each takes the same place behind: the wait does not grow with the outage.
    for moment in returns:
        clock.now = max(clock.now, moment)
        if clock.now > returns[0] + 0.01:
            assert (await parked(one)).seconds < 30 + 100 / 20
        else:
            await fail(one, await one.permit(write=True), "a", retry_after_seconds=30)


async def test_a_probe_that_fails_returns_after_those_that_have_not_called(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    permit = await probe(one, clock)
    failed = await fail(one, permit)
    others = [await parked(one) for _ in range(3)]
    assert failed is not None
    assert max(other.seconds for other in others) < failed.seconds - 1
    assert failed.seconds < failed.outage.wait_seconds + 3


async def test_a_pause_holds_a_probe_back(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(max_inline_wait_seconds=3)
    await open_circuit(one)
    await one.throttled(60)
    clock.now += 50
    with pytest.raises(PermitDeferredError) as caught:
        await one.permit(write=True)
    assert caught.value.pause_seconds == pytest.approx(10)
    clock.now += 11
    assert (await one.permit(write=True)).outage is not None


async def test_the_end_of_a_pause_does_not_let_a_call_into_an_open_circuit(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(max_inline_wait_seconds=3)
    await open_circuit(one, retry_after_seconds=30)
    await one.throttled(10)
    clock.now += 10
    assert (await parked(one)).outage.wait_seconds == pytest.approx(20)


async def test_a_probe_counts_for_the_limits(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter(company_limit=3, company_window_seconds=40)
    await open_circuit(one)
    clock.now += 5
    assert (await one.permit(write=True)).outage is not None
    assert clock.now > 1040  # the first of three calls was sent at 1000


async def test_the_state_tells_of_the_outage_until_it_is_over(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one, retry_after_seconds=10)
    shown = []
    for _ in range(3):
        clock.now += 4
        outage = (await one.state()).outage
        assert outage is not None
        shown.append((outage.cause, outage.opened, round(outage.age_seconds, 3), round(outage.wait_seconds, 3)))
    assert shown == [("http_500", False, 4, 6), ("http_500", False, 8, 2), ("http_500", False, 12, 0)]
    permit = await one.permit(write=True)
    assert (await one.state()).outage is not None  # a probe is under way
    await one.succeeded(permit)
    assert (await one.state()).outage is None


async def test_a_call_that_another_workers_probe_let_through_shows_that_it_is_over(
    clock: Clock, limiter: MakeLimiter
) -> None:
    one = limiter()
    early = await one.permit(write=True)
    await open_circuit(one)
    permit = await probe(one, clock)
    await permit.reservation.succeeded()
    assert one.circuit_open
    await one.succeeded(early)
    assert one.circuit_open
    clock.now += 1
    await one.permit(write=True)
    assert not one.circuit_open


async def test_an_outage_is_told_with_its_cause(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await call(one, "a")
    suspected = await call(one, "b")
    opened = await call(one, "c")
    assert str(suspected).endswith(" s: Dialpad perhaps does not work for this company (http_500)")
    assert str(opened).endswith(" s: Dialpad does not work for this company (http_500)")
    assert str(await parked(one)).endswith(" s: Dialpad does not work for this company (http_500)")


async def test_what_is_not_heard_of_any_more_is_not_shown_as_open(clock: Clock, limiter: MakeLimiter) -> None:
    one = limiter()
    await open_circuit(one)
    clock.now += LEASE
    assert one.circuit_open
    clock.now += 3
    assert not one.circuit_open
