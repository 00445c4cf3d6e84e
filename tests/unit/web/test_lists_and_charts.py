"""Feed lists worked out on the server, charts as geometry, originals with the place marked."""

from __future__ import annotations

import random
from zoneinfo import ZoneInfo

import msgspec

from weftline.service.views import FeedRow, Latency, LedgerRow, QuarantineRecord, RatePoint, ViolationView
from weftline.web.charts import Hole, Series, bars, line_chart, sparkline
from weftline.web.feedlist import SORTS, FeedQuery, group_feeds, page_of
from weftline.web.quarantine import original_of
from weftline.web.rates import even
from weftline.web.status import feed_status
from weftline.web.tower import sum_ledger


def row(name: str, state: str = "live", **more) -> FeedRow:
    values = {
        "connection": "c", "kind": "mqtt", "contract": "m", "version": "1.0.0", "partner": "", "site": "Lviv",
        "critical": False, "since": 1, "reason": "", "last_record": 1, "age": 1.0, "cadence": 10.0,
        "rate_per_minute": 6.0, "latency_ours": Latency(), "latency_theirs": Latency(), "completeness": None,
        "received": 1, "stored": 1, "quarantined": 0, "duplicate": 0, "ignored": 0, "expired": 0, "waiting": 0,
        "connection_state": "connected",
    }  # fmt: skip
    return FeedRow(name=name, state=state, **(values | more))


def many() -> list[FeedRow]:
    noise = random.Random(2)
    states = ["live", "silent", "rejecting", "failing", "never", "stopped", "unknown", "quiet", "held"]
    return [
        row(
            f"f{n:04d}", noise.choice(states), critical=n % 7 == 0, age=None if n % 5 == 0 else n * 1.5, received=n % 40
        )
        for n in range(1000)
    ]


def test_keyset_pages_show_every_feed_once_under_every_sort() -> None:
    rows = many()
    for sort in SORTS:
        seen: list[str] = []
        after = ""
        while True:
            page = page_of(rows, FeedQuery(sort=sort, after=after), size=90)
            seen += [one.name for one in page.rows]
            after = page.next
            if not after:
                break
        assert len(seen) == len(set(seen)) == 1000, sort


def test_the_worst_feed_stands_first_and_facets_sum_to_what_the_search_found() -> None:
    page = page_of(many(), FeedQuery(text="f0"), size=50)
    shapes = [feed_status(one).shape for one in page.rows]
    assert shapes[0] == "critical"
    assert sum(facet.feeds for facet in page.facets) == 1000
    assert page_of(many(), FeedQuery(state="silent")).matched == next(
        facet.feeds for facet in page.facets if facet.value == "silent"
    )


def test_a_broken_or_foreign_page_position_shows_the_first_page() -> None:
    rows = many()
    first = [one.name for one in page_of(rows, FeedQuery(sort="name")).rows]
    for after in ("%%%", "bm9uc2Vuc2U", page_of(rows, FeedQuery(sort="worst")).next, "x" * 400):
        assert [one.name for one in page_of(rows, FeedQuery(sort="name", after=after)).rows] == first


def test_groups_put_the_one_with_the_worst_feed_first_and_count_the_rest() -> None:
    rows = [row(f"a{n}", site="A") for n in range(9)] + [row("b", "failing", site="B")]
    groups = group_feeds(rows, lambda one: one.site, 5, 3)
    in_trouble = group_feeds(rows, lambda one: one.site, 5, 3, calm=False)
    assert [len(group.shown) for group in in_trouble] == [1, 0]
    assert [(group.name, group.feeds, len(group.shown), group.more) for group in groups] == [
        ("B", 1, 1, 0),
        ("A", 9, 3, 6),
    ]


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    def book(name: str, waiting: int | None, balanced: bool | None) -> LedgerRow:
        return LedgerRow(
            feed=name, received=10, stored=9, quarantined=1, duplicate=0, ignored=0, expired=0, waiting=waiting,
            balanced=balanced,
        )  # fmt: skip

    assert sum_ledger([book("a", 0, True), book("b", 2, True)]).waiting == 2
    partly = sum_ledger([book("a", 0, True), book("b", None, None)])
    assert (partly.waiting, partly.waiting_unknown, partly.balanced) == (None, 1, None)
    assert sum_ledger([book("a", None, None), book("b", 0, False)]).off == ["b"]


def test_a_line_breaks_at_what_is_unknown_and_never_bridges_it() -> None:
    points = [(n * 60e6, None if n == 2 else float(n)) for n in range(5)]
    chart = line_chart(
        "Rate",
        [Series("", points)],
        zone=ZoneInfo("UTC"),
        unit="/s",
        number=str,
        holes=[Hole(60e6, 180e6, "not running")],
    )
    assert chart is not None
    assert chart.paths[0][0].count("M") == 2
    assert chart.holes[0].at == 25
    assert chart.holes[0].width == 50
    assert chart.rows[2] == ("00:02", ["unknown"])
    assert [tick.label for tick in chart.y_ticks] == ["0", "1", "2", "3", "4"]
    assert line_chart("x", [Series("", [(1, None)])], zone=ZoneInfo("UTC"), unit="", number=str) is None


def test_a_bucket_the_road_left_out_counts_no_record_and_the_running_one_is_not_shown() -> None:
    minute = 60_000_000
    points = [RatePoint(time=minute, received=5), RatePoint(time=3 * minute, received=None)]
    shown = even([*points, RatePoint(time=5 * minute, received=1)], minute, 5 * minute + 7, 100)
    assert [point.received for point in shown] == [5, 0, None, 0]
    assert len(even(points, minute, 500 * minute, 60)) == 60
    assert even([], minute, minute, 60) == []


def test_small_charts_keep_the_smallest_count_visible() -> None:
    assert sparkline([1, None, 2, 3]).count("M") == 2
    assert sparkline([None, 1]) == ""
    drawn = bars([0, 1, 10_000])
    assert (drawn[0].height, drawn[1].height) == (1, 2)


def record(original: str, field: str, found: str, encoding="utf-8") -> QuarantineRecord:
    return QuarantineRecord(
        id=1, group="g", feed="f", contract="c", stage="contract", code="rule", received=1, lane="l", frame=1,
        position=0, violations=[ViolationView(rule="r", field=field, found=found, expected="e")], attributes={},
        size=len(original),         original=original, encoding=encoding,
    )  # fmt: skip


def test_the_place_of_a_violation_is_marked_in_the_original() -> None:
    shown = original_of(record("a,b\n1,CT\n", "uom", "'CT'"))
    assert shown is not None
    assert [line.part for line in shown.lines] == ["", "CT"]
    by_field = original_of(record('{"lot": null}', "line.lot", "nothing"))
    assert by_field is not None
    assert by_field.lines[0].part == "lot"
    nothing = original_of(record("a,b\n", "zone", "39.2"))
    assert nothing is not None
    assert not nothing.marked


def test_the_character_at_which_a_codec_stopped_is_marked() -> None:
    broken = record('{"a":\n 1 x', "", "record 1: found no valid JSON at character 10, expected one JSON value")
    shown = original_of(msgspec.structs.replace(broken, stage="decode"))
    assert shown is not None
    assert [(line.before, line.part) for line in shown.lines] == [('{"a":', ""), (" 1 ", "x")]
    at_the_end = original_of(msgspec.structs.replace(broken, stage="decode", original='{"a": 1', violations=[
        ViolationView(rule="json-syntax", field="", found="no valid JSON at character 8", expected="JSON")
    ]))  # fmt: skip
    assert at_the_end is not None
    assert at_the_end.lines[0].part == "1"


def test_a_long_original_is_cut_around_the_place() -> None:
    text = "\n".join(f"line {n}" for n in range(5000)).replace("line 4000", "x" * 900 + " BAD " + "y" * 900)
    shown = original_of(record(text, "", "BAD"))
    assert shown is not None
    hit = next(line for line in shown.lines if line.part)
    assert (hit.number, hit.part, len(shown.lines)) == (4001, "BAD", 40)
    assert len(hit.before) < 250
    assert shown.cut == 4960


def test_bytes_that_are_no_text_are_shown_as_bytes() -> None:
    shown = original_of(record("AAH/QUI=", "a", "b", "base64"))
    assert shown is not None
    assert shown.binary
    assert "00 01 ff 41 42" in shown.lines[0].before
    assert original_of(record("not base64!", "a", "b", "base64")) is not None
