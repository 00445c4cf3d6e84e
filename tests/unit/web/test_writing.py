"""How the website writes numbers, ages and names that others chose."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weftline.web.format import age, decimal, isotime, milliseconds, percent, placed, size, visible, visible_lines
from weftline.web.visits import local_path

NOON = 1_795_089_127_912_345  # 2026-11-19 11:52:07.912345 UTC


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"), (0.0, "0.0 s"), (0.42, "0.4 s"), (9.96, "10 s"), (12, "12 s"), (99.6, "2 min"),
        (2820, "47 min"), (7500, "2 h 05 min"), (172_800, "2 d"), (-582, "−10 min"),
    ],
)  # fmt: skip
def test_ages_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_unknown_is_a_word_and_never_zero() -> None:
    assert [age(None), decimal(None), percent(None)] == ["unknown"] * 3
    assert milliseconds(None) == ("", "")


def test_a_share_below_one_is_never_written_as_a_hundred() -> None:
    assert percent(1.0) == "100"
    assert percent(0.999999) == "99.99"
    assert percent(0.9998) == "99.98"
    assert percent(0.0) == "0.0"


def test_times_stand_in_the_plants_zone_and_name_the_day_when_it_is_not_today() -> None:
    kyiv = ZoneInfo("Europe/Kyiv")
    assert placed(NOON, kyiv, NOON) == "13:52:07"
    assert placed(NOON, kyiv, NOON, fine=True) == "13:52:07.912"
    assert placed(NOON - 86_400_000_000, kyiv, NOON) == "18 Nov 13:52"
    assert isotime(NOON) == "2026-11-19T11:52:07.912345Z"


def test_sizes_have_units() -> None:
    assert [size(76), size(15_200), size(412_000_000)] == ["76 B", "15.2 kB", "412.0 MB"]


def test_what_could_hide_or_reorder_text_is_shown() -> None:
    assert visible("a\x00b\x1bc\x7f") == "a⟨U+0000⟩b⟨U+001B⟩c⟨U+007F⟩"
    assert visible("\u202egnp.exe") == "⟨U+202E⟩gnp.exe"
    assert visible("👩‍🏭 ok") == "👩‍🏭 ok"
    assert visible("خط الإنتاج") == "خط الإنتاج"
    assert visible("x" * 50, 10) == "x" * 9 + "…"
    assert visible_lines("a\r\nb\tc\x07") == "a\nb\tc⟨U+0007⟩"


@given(st.text())
def test_no_text_stays_invisible(text: str) -> None:
    shown = visible(text)
    assert all(
        character.isprintable() or character in " \u200c\u200d\ufe0f" or character.isspace() for character in shown
    )
    assert "\n" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb", "evil"]
)
def test_after_signing_in_nobody_is_led_off_the_website(target: str) -> None:
    assert local_path(target) == "/"


def test_after_signing_in_the_page_asked_for_is_shown() -> None:
    assert local_path("/feeds?q=a%20b&state=silent") == "/feeds?q=a%20b&state=silent"
