"""Numbers in arrays of our own: what the buckets count, and how many series there can be."""

import bisect
import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from everact.metrics.catalogue import RUN_BUCKETS
from everact.metrics.tally import MOST_VALUES, OTHER, Histogram, Tally

MICROSECONDS = st.integers(-(10**9), 10**13)


def one_by_one(bounds: tuple[float, ...], values: list[int]) -> tuple[list[int], int]:
    """What a histogram must count, written as the definition says."""
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect.bisect_left([bound * 1_000_000 for bound in bounds], max(value, 0))] += 1
    return counts, sum(max(value, 0) for value in values)


@given(st.lists(MICROSECONDS), st.lists(MICROSECONDS))
def test_a_histogram_in_bulk_counts_as_one_by_one(first: list[int], second: list[int]) -> None:
    histogram = Histogram(RUN_BUCKETS)
    histogram.observe(first)
    histogram.observe(second)
    assert (histogram.counts, histogram.sum) == one_by_one(RUN_BUCKETS, first + second)


def test_a_value_at_a_bound_belongs_below_it() -> None:
    histogram = Histogram((1.0, 5.0))
    histogram.observe([1_000_000, 1_000_001, 5_000_000, 5_000_001])
    assert histogram.counts == [1, 2, 1]


@given(st.lists(MICROSECONDS), st.lists(MICROSECONDS))
def test_a_copy_with_more_leaves_the_histogram_as_it_is(first: list[int], more: list[int]) -> None:
    histogram = Histogram(RUN_BUCKETS)
    histogram.observe(first)
    copy = histogram.with_more(more)
    assert (histogram.counts, histogram.sum) == one_by_one(RUN_BUCKETS, first)
    assert (copy.counts, copy.sum) == one_by_one(RUN_BUCKETS, first + more)


def test_a_scrape_never_sees_a_count_fall_while_values_are_sorted_in() -> None:
    series = Tally(threading.Lock()).series_of("Pay", "default")
    seen: list[int] = []
    ended = threading.Event()

    def scrape() -> None:
        while not ended.is_set():
            seen.append(sum(series.run.counts))

    scraper = threading.Thread(target=scrape)
    scraper.start()
    for number in range(20_000):
        series.times.gathered.extend((number, number))
        if number % 7 == 0:
            series.times.sort_in()
    ended.set()
    scraper.join(10)
    assert all(before <= after for before, after in itertools.pairwise(seen))
    assert sum(series.run.counts) == 20_000


def test_above_a_number_of_types_and_queues_the_rest_share_one_series() -> None:
    tally = Tally(threading.Lock())
    for number in range(100_000):
        tally.series_of(f'evil\n"{number}\\', f"queue {number}")
    assert len(tally.series) == MOST_VALUES + 1
    assert tally.series_of("one more", "and its queue") is tally.series_of(OTHER, OTHER)


def test_a_type_that_has_a_series_keeps_it_when_all_are_taken() -> None:
    tally = Tally(threading.Lock())
    first = tally.series_of("Pay", "default")
    for number in range(1000):
        tally.series_of(f"T{number}", "default")
    assert tally.series_of("Pay", "default") is first


def test_a_type_that_is_called_other_is_one_of_the_others() -> None:
    tally = Tally(threading.Lock())
    assert tally.series_of(OTHER, "default").task == OTHER
    assert OTHER not in tally._tasks


def test_decisions_of_many_threads_are_all_counted() -> None:
    tally = Tally(threading.Lock())

    def decide() -> None:
        for _ in range(1000):
            tally.decided("user", "restart")

    threads = [threading.Thread(target=decide) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert tally.decisions == {("user", "restart"): 4000}
