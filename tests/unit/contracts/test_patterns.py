"""The subset of regular expressions: what is refused, where, and that what passes needs no backtracking."""

from __future__ import annotations

import pytest

from weftline.contracts.patterns import PatternError, read_pattern


@pytest.mark.parametrize(
    ("pattern", "found", "character"),
    [
        ("a(?=b)", "look-around", 2),
        ("(?!x)a", "look-around", 1),
        ("(?<=x)a", "look-around", 1),
        ("(?<!x)a", "look-around", 1),
        (r"(a)\1", "back-reference", 4),
        (r"(?P<n>a)", r"group", 1),
        ("a++", "possessive", 3),
        ("(a", "end", 3),
        ("a)", "without", 2),
        ("[a", "end", 3),
        ("*a", "repeat", 1),
        ("(a{50}){50}", "repeat", 8),
        ("a{3,2}", "repeat", 2),
        (r"\p{L}", "escape", 1),
        (r"\_", "escape", 1),
        ("a(?i)b", "group", 2),
        ("[z-a]", "fault", 2),
    ],
)
def test_what_is_outside_the_subset_is_refused_with_its_place(pattern: str, found: str, character: int) -> None:
    with pytest.raises(PatternError) as error:
        read_pattern(pattern)
    assert found in error.value.complaint.found
    assert f"character {character} " in error.value.complaint.found


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("ACC[0-9]{8}", "ACC[0-9]{8}"),
        (r"\u00e4", r"\x{E4}"),
        (r"\x41", r"\x{41}"),
        ("a{,3}", r"a\{,3\}"),
        ("[]a]", r"[\]a]"),
        ("[[:alpha:]]", "[[:alpha:]]"),
        ("(?i)ab", "(?i)ab"),
        (r"\/a\-b", r"\/a\-b"),
    ],
)
def test_a_pattern_is_written_as_re2_reads_it(pattern: str, written: str) -> None:
    assert read_pattern(pattern).text == written


def test_groups_are_counted() -> None:
    assert read_pattern("(a)(?:b)(c(d))").groups == 3


def test_a_pattern_that_never_ends_is_refused() -> None:
    with pytest.raises(PatternError, match="at most 2000"):
        read_pattern("a" * 2001)
