"""Formats of dates and times in the letters ODCS uses."""

from __future__ import annotations

import pytest

from weftline.contracts.time_formats import TimeFormatError, read_time_format


@pytest.mark.parametrize(
    ("text", "strptime", "offset", "date", "time"),
    [
        ("yyyy-MM-dd", "%Y-%m-%d", False, True, False),
        ("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S", False, True, True),
        ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "%Y-%m-%dT%H:%M:%S.%f%z", True, True, True),
        ("HH:mm", "%H:%M", False, False, True),
        ("dd MMM yyyy h:mm a", "%d %b %Y %I:%M %p", False, True, True),
        ("yyyy''DDD", "%Y'%j", False, True, False),
        ("100%'%'yyyyMMdd", "100%%%%%Y%m%d", False, True, False),
    ],
)
def test_a_format_is_translated(text: str, strptime: str, offset: bool, date: bool, time: bool) -> None:
    found = read_time_format(text)
    assert (found.strptime, found.offset, found.has_date, found.has_time) == (strptime, offset, date, time)


@pytest.mark.parametrize("text", ["", "abc", "yyyy-MM", "YYYY-MM-dd", "yyyy-MM-dd'", "yyyy-MM-dd MM", "mm:ss"])
def test_an_unknown_or_incomplete_format_is_refused(text: str) -> None:
    with pytest.raises(TimeFormatError):
        read_time_format(text)
