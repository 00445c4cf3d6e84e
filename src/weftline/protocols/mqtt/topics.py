"""Match topics against topic filters, and against Weftline's patterns with captures.

A *pattern* is a topic filter whose wildcards have names: ``umh/v1/{site}/{line}/{tag}`` subscribes to
``umh/v1/+/+/+``, ``plant/{rest...}`` to ``plant/#``. Anonymous ``+`` and ``#`` may be used as well.

Of two patterns the more specific is the one whose set of topics is contained in the other's. Two patterns that share
a topic while neither contains the other tie, unless a third, more specific than both, takes all they share.

Sources: MQTT 5.0 §4.7 (names and filters), §4.7.2 (wildcards do not reach topics that begin with ``$``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from weftline.protocols.mqtt.errors import TopicError

T = TypeVar("T")

_CAPTURE: Final = re.compile(r"\{([a-z][a-z0-9_]*)(\.\.\.)?\}")
_LONGEST: Final = 65_535
_CACHE: Final = 65_536


def _refuse(what: str, found: str, expected: str) -> TopicError:
    return TopicError(place=what, found=found, expected=expected, next_step="correct the topic (MQTT 5.0 §4.7)")


def check_topic(topic: str) -> str:
    """Return `topic` if it is a topic name: not empty, no wildcard, no U+0000, at most 65,535 bytes."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic:
        raise _refuse("topic name", repr(topic), "at least one character, and none of + # U+0000")
    if len(topic) > _LONGEST // 4 and len(topic.encode("utf-8", "replace")) > _LONGEST:
        raise _refuse("topic name", f"{len(topic)} characters", f"at most {_LONGEST} bytes")
    return topic


def check_filter(topic_filter: str) -> str:
    """Return `topic_filter` if its wildcards fill whole levels and ``#`` stands last (§4.7.1)."""
    if not topic_filter or "\0" in topic_filter:
        raise _refuse("topic filter", repr(topic_filter), "at least one character, without U+0000")
    if len(topic_filter) > _LONGEST // 4 and len(topic_filter.encode("utf-8", "replace")) > _LONGEST:
        raise _refuse("topic filter", f"{len(topic_filter)} characters", f"at most {_LONGEST} bytes")
    if "+" not in topic_filter and "#" not in topic_filter:
        return topic_filter
    levels = topic_filter.split("/")
    for at, level in enumerate(levels):
        if len(level) > 1 and ("+" in level or "#" in level):
            raise _refuse("topic filter", repr(topic_filter), f"a wildcard alone in its level, not {level!r}")
        if level == "#" and at != len(levels) - 1:
            raise _refuse("topic filter", repr(topic_filter), "# in the last level only")
    return topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether `topic` is one that `topic_filter` subscribes to."""
    levels, wanted = topic.split("/"), topic_filter.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or (level != "+" and level != levels[at]):
            return False
    return len(levels) == len(wanted)


def contains(outer: str, inner: str) -> bool:
    """Tell whether every topic of filter `inner` is a topic of filter `outer`."""
    wide, narrow = outer.split("/"), inner.split("/")
    if narrow[0].startswith("$") and wide[0] in ("+", "#"):
        return False
    for at, level in enumerate(wide):
        if level == "#":
            return True
        if at >= len(narrow) or narrow[at] == "#" or (level != "+" and level != narrow[at]):
            return False
    return len(narrow) == len(wide)


def intersection(one: str, other: str) -> str | None:
    """Return the filter of the topics that both filters subscribe to, None if they share none."""
    left, right = one.split("/"), other.split("/")
    if any(a[0].startswith("$") and b[0] in ("+", "#") for a, b in ((left, right), (right, left))):
        return None
    shared: list[str] = []
    at = 0
    while at < len(left) and at < len(right):
        a, b = left[at], right[at]
        if a == "#":
            return "/".join(shared + right[at:])
        if b == "#":
            return "/".join(shared + left[at:])
        if a != b and "+" not in (a, b):
            return None
        shared.append(b if a == "+" else a)
        at += 1
    # ``a/#`` includes ``a`` itself (§4.7.1.2).
    if left[at:] in ([], ["#"]) and right[at:] in ([], ["#"]):
        return "/".join(shared)
    return None


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: list[T] = []


class TopicTrie(Generic[T]):
    """Hold values under topic filters and find those whose filter matches a topic, or overlaps a filter."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, topic_filter: str, value: T) -> None:
        """Put `value` under `topic_filter`; a filter may hold several."""
        node = self._root
        for level in check_filter(topic_filter).split("/"):
            node = node.children.setdefault(level, _Node())
        node.values.append(value)

    def remove(self, topic_filter: str, value: T) -> None:
        """Take `value` away from `topic_filter`; raises `KeyError` if it is not there."""
        path: list[tuple[_Node[T], str]] = []
        node = self._root
        for level in topic_filter.split("/"):
            path.append((node, level))
            node = node.children[level]
        if value not in node.values:
            raise KeyError(topic_filter)
        node.values.remove(value)
        for parent, level in reversed(path):
            if parent.children[level].values or parent.children[level].children:
                break
            del parent.children[level]

    def match(self, topic: str) -> list[T]:
        """Return the values whose filter matches `topic`."""
        found: list[T] = []
        nodes = [self._root]
        for depth, level in enumerate(topic.split("/")):
            hidden = depth == 0 and topic.startswith("$")
            following: list[_Node[T]] = []
            for node in nodes:
                keys = (level,) if hidden else (level, "+")
                following.extend(node.children[key] for key in keys if key in node.children)
                if not hidden and (rest := node.children.get("#")) is not None:
                    found.extend(rest.values)
            nodes = following
        for node in nodes:
            found.extend(node.values)
            if (rest := node.children.get("#")) is not None:
                found.extend(rest.values)
        return found

    def overlapping(self, topic_filter: str) -> Iterator[T]:
        """Yield the values whose filter shares at least one topic with `topic_filter`."""
        levels = topic_filter.split("/")
        nodes = [self._root]
        for depth, level in enumerate(levels):
            following: list[_Node[T]] = []
            for node in nodes:
                if level == "#":
                    yield from _below(node, hide=depth == 0)
                    if depth:
                        yield from node.values
                    continue
                for key, child in _candidates(node, level):
                    if depth == 0 and "$" in (key[:1], level[:1]) and key != level:
                        continue
                    if key == "#":
                        yield from child.values
                    else:
                        following.append(child)
            nodes = following
        for node in nodes:
            yield from node.values
            if (rest := node.children.get("#")) is not None:
                yield from rest.values


def _candidates(node: _Node[T], level: str) -> Iterable[tuple[str, _Node[T]]]:
    if level == "+":
        return node.children.items()
    return [(key, node.children[key]) for key in (level, "+", "#") if key in node.children]


def _below(node: _Node[T], *, hide: bool) -> Iterator[T]:
    for key, child in node.children.items():
        if hide and key.startswith("$"):
            continue
        yield from child.values
        yield from _below(child, hide=False)


class TopicPattern(NamedTuple):
    """A topic filter whose wildcards have names."""

    text: str
    """As it was written."""
    filter: str
    """The topic filter to subscribe to."""
    names: tuple[str | None, ...]
    """Per level the name of its capture, None where it has none."""

    @classmethod
    def parse(cls, text: str) -> TopicPattern:
        """Read a pattern; a capture fills a whole level and ``{rest...}`` stands last, else `TopicError`."""
        levels: list[str] = []
        names: list[str | None] = []
        written = text.split("/")
        for at, level in enumerate(written):
            capture = _CAPTURE.fullmatch(level)
            if capture is None:
                if "{" in level or "}" in level:
                    expected = "{name} or {name...} filling a whole level, the name in a-z 0-9 _"
                    raise _refuse(f"topic pattern {text!r}", repr(level), expected)
                levels.append(level)
                names.append(None)
                continue
            if capture[1] in names:
                raise _refuse(f"topic pattern {text!r}", f"{{{capture[1]}}} twice", "each name once")
            if capture[2] and at != len(written) - 1:
                raise _refuse(f"topic pattern {text!r}", repr(level), "it in the last level only")
            levels.append("#" if capture[2] else "+")
            names.append(capture[1])
        if levels[0] == "$share":
            raise _refuse(
                f"topic pattern {text!r}", "a shared subscription", "a plain filter; one session reads it all"
            )
        return cls(text, check_filter("/".join(levels)), tuple(names))

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the captures of `topic`, None if it does not match.

        ``{rest...}`` captures the remaining levels joined with ``/``, and the empty string for the parent level,
        which ``#`` includes (§4.7.1.2).
        """
        if not matches(self.filter, topic):
            return None
        levels = topic.split("/")
        captured: dict[str, str] = {}
        for at, name in enumerate(self.names):
            if name is not None:
                rest = at == len(self.names) - 1 and self.filter.endswith("#")
                captured[name] = "/".join(levels[at:]) if rest else levels[at]
        return captured

    @property
    def specificity(self) -> tuple[int, ...]:
        """Per level 0 literal, 1 ``+``, 2 ``#``: smaller is more specific among patterns that match one topic.

        A pattern contained in another always sorts before it.
        """
        return tuple({"+": 1, "#": 2}.get(level, 0) for level in self.filter.split("/"))

    def is_more_specific_than(self, other: TopicPattern) -> bool:
        """Tell whether all topics of this pattern, and not the other way round, are topics of `other`."""
        return contains(other.filter, self.filter) and not contains(self.filter, other.filter)


class Tie(NamedTuple):
    """Two owners whose patterns are equally specific for the topics of the filter `shared`."""

    one: str
    other: str
    shared: str


class PatternTable:
    """Send each topic to the owner of the most specific pattern that matches it."""

    def __init__(self, patterns: Mapping[str, TopicPattern]) -> None:
        self._patterns = dict(patterns)
        self._trie: TopicTrie[str] = TopicTrie()
        for owner, pattern in self._patterns.items():
            self._trie.add(pattern.filter, owner)
        self._known: dict[str, tuple[str, dict[str, str]] | None] = {}

    def match(self, topic: str) -> tuple[str, dict[str, str]] | None:
        """Return the owner and the captures for `topic`, None if nobody's pattern matches.

        The captures are shared between calls and must not be changed. Answers are remembered, since the topics of
        a plant repeat. Where patterns tie (see `ties`) the one with the earlier literal level wins, then the name.
        """
        try:
            return self._known[topic]
        except KeyError:
            answer = self._find(topic)
        if len(self._known) >= _CACHE:
            self._known.clear()
        self._known[topic] = answer
        return answer

    def _find(self, topic: str) -> tuple[str, dict[str, str]] | None:
        owners = self._trie.match(topic)
        if not owners:
            return None
        owner = min(owners, key=lambda each: (self._patterns[each].specificity, each))
        captures = self._patterns[owner].match(topic)
        return None if captures is None else (owner, captures)

    def filters(self) -> list[str]:
        """Return the smallest list of filters that covers all patterns, so that no message arrives twice."""
        unique = {pattern.filter for pattern in self._patterns.values()}
        wide: list[str] = []
        for each in sorted(unique):
            others = {self._patterns[owner].filter for owner in self._trie.overlapping(each)} - {each}
            if not any(contains(other, each) for other in others):
                wide.append(each)
        return wide

    def ties(self) -> list[Tie]:
        """Return the pairs of owners that claim the same topics equally specifically, for `check` to refuse."""
        found: list[Tie] = []
        for owner in sorted(self._patterns):
            mine = self._patterns[owner]
            for name in sorted(set(self._trie.overlapping(mine.filter))):
                theirs = self._patterns[name]
                if name <= owner or mine.is_more_specific_than(theirs) or theirs.is_more_specific_than(mine):
                    continue
                shared = intersection(mine.filter, theirs.filter)
                if shared is not None and not self._taken_by_third(shared, mine, theirs):
                    found.append(Tie(owner, name, shared))
        return found

    def _taken_by_third(self, shared: str, one: TopicPattern, other: TopicPattern) -> bool:
        third = (self._patterns[owner] for owner in set(self._trie.overlapping(shared)))
        return any(
            contains(each.filter, shared) and each.is_more_specific_than(one) and each.is_more_specific_than(other)
            for each in third
        )
