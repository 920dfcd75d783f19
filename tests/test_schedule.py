"""When something is tried again: seconds, then hours, then days, then never."""

import random

from hypothesis import given
from hypothesis import strategies as st

from connectors.adapter import Outcome
from connectors.breaker import Breakers, failures_min, probe_pause_ms_max, probe_pause_ms_min
from connectors.schedule import HOUR_MS, Schedule, retry_after_ms_max

WHO = ("reach", "webhook")
FAILED = Outcome("failed", "http-500")
DELIVERED = Outcome("delivered", "http-200")


def test_an_endpoint_that_fails_for_three_days_is_still_tried() -> None:
    schedule, now, attempt = Schedule(), 0, 0
    while now < 72 * HOUR_MS:
        attempt += 1
        after = schedule.next_at(attempt, now, random.Random(1))
        assert after is not None, f"given up after {now / HOUR_MS:.0f} hours"
        now = after


def test_it_ends() -> None:
    schedule = Schedule()
    assert schedule.next_at(len(schedule.pauses_ms) + 1, 0, random.Random(1)) is None


@given(st.integers(1, 14), st.integers(0, 10**9))
def test_jitter_stays_within_its_share(attempt: int, seed: int) -> None:
    schedule = Schedule()
    at = schedule.next_at(attempt, 1_000, random.Random(seed))
    pause = schedule.pauses_ms[attempt - 1]
    assert at is not None
    assert 0.8 * pause - 1 <= at - 1_000 <= 1.2 * pause


def test_what_the_recipient_asks_for_counts_where_it_is_longer() -> None:
    schedule = Schedule((1_000,), jitter=0)
    assert schedule.next_at(1, 0, random.Random(1), 60_000) == 60_000
    assert schedule.next_at(1, 0, random.Random(1), 10) == 1_000
    assert schedule.next_at(1, 0, random.Random(1), 10**12) == retry_after_ms_max


def test_one_at_a_time_is_tried_after_failures_in_a_row() -> None:
    breakers = Breakers(32)
    assert breakers.room(WHO, 0, 0) == 32
    for number in range(failures_min):
        breakers.ended(WHO, FAILED, number)
    assert breakers.room(WHO, 0, failures_min) == 0
    later = failures_min + probe_pause_ms_max
    assert (breakers.room(WHO, 0, later), breakers.room(WHO, 1, later)) == (1, 0)
    assert breakers.room(("shelter", "webhook"), 0, 0) == 32, "one stuck recipient delays no other"
    breakers.ended(WHO, DELIVERED, later)
    assert breakers.room(WHO, 2, later) == 30


def test_deliveries_that_fail_together_open_the_breaker_for_no_longer_than_one() -> None:
    breakers = Breakers(32)
    for _ in range(20):
        breakers.ended(WHO, FAILED, 1_000)
    assert breakers.room(WHO, 0, 1_000 + probe_pause_ms_min - 1) == 0
    assert breakers.room(WHO, 0, 1_000 + probe_pause_ms_min) == 1


def test_pauses_grow_with_each_try_and_not_with_what_failed_beside_it() -> None:
    breakers, now = Breakers(32), 0
    for _ in range(32):
        breakers.ended(WHO, FAILED, now)
    pauses = []
    for _ in range(12):
        before = now
        while not breakers.room(WHO, 0, now):
            now += 100
        pauses.append(now - before)
        breakers.ended(WHO, FAILED, now)
    assert pauses[:4] == [1_000, 2_000, 4_000, 8_000]
    assert pauses[-1] == probe_pause_ms_max


def test_a_recipient_may_ask_for_a_pause() -> None:
    breakers = Breakers(1)
    for _ in range(failures_min):
        breakers.ended(WHO, Outcome("failed", "http-429", 90_000), 0)
    assert breakers.room(WHO, 0, 89_999) == 0
    assert breakers.room(WHO, 0, 90_000) == 1


def test_what_the_hub_could_not_do_is_not_held_against_the_recipient() -> None:
    breakers = Breakers(8)
    for _ in range(failures_min * 2):
        breakers.ended(WHO, Outcome("failed", "not-begun"), 0)
    assert breakers.room(WHO, 0, 0) == 8


def test_gone_means_nothing_more_until_the_subscription_is_written_anew() -> None:
    breakers = Breakers(8)
    breakers.governed("reach", 500)
    breakers.ended(WHO, Outcome("refused", "http-410", disable=True), 1_000)
    assert breakers.room(WHO, 0, 10**12) == 0
    breakers.governed("reach", 999)
    assert breakers.disabled(WHO)
    breakers.governed("reach", 1_001)
    assert breakers.room(WHO, 0, 2_000) == 8


def test_one_who_fails_now_and_then_is_no_trouble_to_the_hub() -> None:
    """What succeeds between two failures ends the pause of the first one too."""
    breakers = Breakers(8)
    breakers.ended(WHO, FAILED, 1_000)
    breakers.ended(WHO, DELIVERED, 1_010)
    for number in range(failures_min):
        breakers.ended(WHO, FAILED, 1_020 + number)
    assert breakers.room(WHO, 0, 1_030) == 0
    assert breakers.room(WHO, 0, 1_030 + probe_pause_ms_min) == 1
