from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.protocols.mqtt.errors import MqttError, TopicError
from weftline.protocols.mqtt.topics import (
    PatternTable,
    Tie,
    TopicPattern,
    TopicTrie,
    check_filter,
    check_topic,
    contains,
    intersection,
    matches,
)

LEVELS = st.sampled_from(["a", "b", "", "$x", "+"])
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.tuples(st.lists(LEVELS, min_size=1, max_size=4), st.booleans())
    .map(lambda parts: "/".join(parts[0] + (["#"] if parts[1] else [])))
    .filter(bool)
)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "/", True),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker/uptime", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/broker/uptime", True),
    ],
)
def test_the_standards_own_examples_match_as_it_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected


@pytest.mark.parametrize("topic_filter", ["", "sport+", "a/#/b", "a#", "+a/b", "a\0"])
def test_a_filter_the_standard_forbids_is_refused(topic_filter: str) -> None:
    with pytest.raises(TopicError):
        check_filter(topic_filter)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "x" * 70_000])
def test_a_topic_name_the_standard_forbids_is_refused(topic: str) -> None:
    with pytest.raises(MqttError):
        check_topic(topic)


@given(filters=st.lists(FILTERS, max_size=6), topic=TOPICS)
def test_the_trie_finds_what_the_plain_matcher_finds(filters: list[str], topic: str) -> None:
    trie: TopicTrie[int] = TopicTrie()
    for at, each in enumerate(filters):
        trie.add(each, at)
    assert sorted(trie.match(topic)) == [at for at, each in enumerate(filters) if matches(each, topic)]


@given(filters=st.lists(FILTERS, max_size=6), probe=FILTERS)
def test_the_trie_finds_overlapping_filters_as_the_intersection_does(filters: list[str], probe: str) -> None:
    trie: TopicTrie[int] = TopicTrie()
    for at, each in enumerate(filters):
        trie.add(each, at)
    found = set(trie.overlapping(probe))
    assert found == {at for at, each in enumerate(filters) if intersection(each, probe) is not None}


@given(one=FILTERS, other=FILTERS, topic=TOPICS)
def test_an_intersection_holds_exactly_the_shared_topics(one: str, other: str, topic: str) -> None:
    shared = intersection(one, other)
    both = matches(one, topic) and matches(other, topic)
    assert both == (shared is not None and matches(shared, topic))


@given(outer=FILTERS, inner=FILTERS, topic=TOPICS)
def test_a_contained_filter_matches_nothing_more(outer: str, inner: str, topic: str) -> None:
    if contains(outer, inner) and matches(inner, topic):
        assert matches(outer, topic)


def test_a_removed_filter_matches_no_longer() -> None:
    trie: TopicTrie[str] = TopicTrie()
    trie.add("a/+/c", "one")
    trie.add("a/#", "two")
    trie.remove("a/+/c", "one")
    assert trie.match("a/b/c") == ["two"]
    with pytest.raises(KeyError):
        trie.remove("a/+/c", "one")


def test_a_pattern_subscribes_with_wildcards_and_names_what_they_match() -> None:
    pattern = TopicPattern.parse("umh/v1/{site}/+/{tag}")
    assert pattern.filter == "umh/v1/+/+/+"
    assert pattern.match("umh/v1/aachen/press/temperature") == {"site": "aachen", "tag": "temperature"}
    assert pattern.match("umh/v1/aachen/press") is None


def test_a_rest_capture_takes_all_levels_that_follow_or_none() -> None:
    pattern = TopicPattern.parse("plant/{rest...}")
    assert pattern.filter == "plant/#"
    assert pattern.match("plant/a/b") == {"rest": "a/b"}
    assert pattern.match("plant") == {"rest": ""}


@pytest.mark.parametrize("text", ["a/{b}c", "a/{rest...}/b", "{a}/{a}", "{A}", "a/{", "$share/g/a", "a/b#"])
def test_a_pattern_that_cannot_be_subscribed_to_is_refused(text: str) -> None:
    with pytest.raises(TopicError):
        TopicPattern.parse(text)


def table(**patterns: str) -> PatternTable:
    return PatternTable({name: TopicPattern.parse(text) for name, text in patterns.items()})


def test_a_topic_goes_to_the_most_specific_pattern() -> None:
    feeds = table(all="umh/{rest...}", site="umh/v1/{site}/{tag}", aachen="umh/v1/aachen/{tag}")
    assert feeds.match("umh/v1/aachen/t") == ("aachen", {"tag": "t"})
    assert feeds.match("umh/v1/bonn/t") == ("site", {"site": "bonn", "tag": "t"})
    assert feeds.match("umh/x") == ("all", {"rest": "x"})
    assert feeds.match("other") is None
    assert feeds.ties() == []
    assert feeds.filters() == ["umh/#"]


def test_two_patterns_that_share_topics_equally_tie() -> None:
    assert table(one="a/{x}/c", two="a/b/{y}").ties() == [Tie("one", "two", "a/b/c")]
    assert table(one="a/{x}", two="a/{y}").ties() == [Tie("one", "two", "a/+")]


def test_a_third_pattern_that_takes_what_two_share_settles_their_tie() -> None:
    feeds = table(one="a/{x}/c", two="a/b/{y}", three="a/b/c")
    assert feeds.ties() == []
    assert feeds.match("a/b/c") == ("three", {})


@given(filters=st.lists(FILTERS, min_size=1, max_size=5, unique=True), topic=TOPICS)
def test_without_ties_the_winner_is_contained_in_every_other_match(filters: list[str], topic: str) -> None:
    patterns = {f"f{at}": TopicPattern.parse(each) for at, each in enumerate(filters)}
    feeds = PatternTable(patterns)
    found = feeds.match(topic)
    matching = {name for name, pattern in patterns.items() if matches(pattern.filter, topic)}
    assert (found is None) == (not matching)
    assert any(matches(each, topic) for each in feeds.filters()) == bool(matching)
    if found is not None and not feeds.ties():
        assert all(contains(patterns[name].filter, patterns[found[0]].filter) for name in matching)
