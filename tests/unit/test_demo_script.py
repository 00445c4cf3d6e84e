"""The demo world is a function of its seed: the script, and every byte the simulators send."""

from __future__ import annotations

from itertools import islice

import pytest

from weftline.testing.world.carriers import carrier_pushes
from weftline.testing.world.documents import supplier_files
from weftline.testing.world.machines import plant_messages
from weftline.testing.world.partners import CARRIERS
from weftline.testing.world.plant import LINES, tags
from weftline.testing.world.script import KINDS, LASTS, Play, Trouble, script

START = 1_790_000_000_000
SENDERS = {
    "plants": plant_messages,
    "suppliers": supplier_files,
    "dnister": lambda play: carrier_pushes(CARRIERS[0], play),
    "vereb": lambda play: carrier_pushes(CARRIERS[1], play),
}


def first(sender: str, play: Play, count: int = 500) -> list[object]:
    return list(islice(SENDERS[sender](play), count))


@pytest.mark.parametrize("sender", SENDERS)
def test_one_seed_gives_the_same_first_500_messages(sender: str) -> None:
    assert first(sender, Play(7, start_ms=START)) == first(sender, Play(7, start_ms=START))


@pytest.mark.parametrize("sender", SENDERS)
def test_another_seed_gives_other_messages(sender: str) -> None:
    assert first(sender, Play(7, start_ms=START), 50) != first(sender, Play(8, start_ms=START), 50)


@pytest.mark.parametrize("sender", SENDERS)
def test_a_restart_sends_nothing_of_the_run_before(sender: str) -> None:
    assert first(sender, Play(7, run=1, start_ms=START), 50) != first(sender, Play(7, run=2, start_ms=START), 50)


@pytest.mark.parametrize("sender", SENDERS)
def test_messages_come_in_order_of_time(sender: str) -> None:
    times = [message.due for message in first(sender, Play(3, start_ms=START))]  # type: ignore[attr-defined]
    assert times == sorted(times)


def test_identities_of_two_runs_never_meet() -> None:
    keys = [{push.key for push in islice(carrier_pushes(CARRIERS[0], Play(7, run=run)), 500)} for run in (1, 2)]
    assert len(keys[0]) == 500
    assert not keys[0] & keys[1]
    names = [{(drop.folder, drop.name) for drop in islice(supplier_files(Play(7, run=run)), 500)} for run in (1, 2)]
    assert len(names[0]) == 500
    assert not names[0] & names[1]


def test_speed_makes_the_same_world_faster() -> None:
    slow = first("plants", Play(5, no_trouble=True), 300)
    fast = first("plants", Play(5, no_trouble=True, speed=10), 300)
    assert [message.topic for message in slow] == [message.topic for message in fast]  # type: ignore[attr-defined]
    for one, other in zip(slow, fast, strict=True):
        assert one.due == pytest.approx(other.due * 10)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(40))
def test_a_script_has_at_least_four_kinds_that_need_attention(seed: int) -> None:
    troubles = script(seed)
    assert script(seed) == troubles
    needed = [trouble for trouble in troubles if trouble.attention]
    assert len({trouble.kind for trouble in needed}) == len(needed) >= 4
    assert len({trouble.subject for trouble in troubles}) == len(troubles)
    for trouble in troubles:
        assert 0 < trouble.at <= 45
        assert trouble.state in {"silent", "rejecting", "STOPPED", "live"}


def test_scripts_of_different_seeds_differ() -> None:
    assert len({tuple(script(seed)) for seed in range(100)}) == 100


def test_every_kind_comes_up_for_some_seed() -> None:
    assert len(KINDS) >= 8
    assert {trouble.kind for seed in range(60) for trouble in script(seed)} == {kind.name for kind in KINDS}


def test_without_trouble_the_script_is_empty() -> None:
    assert script(1, no_trouble=True) == []


def test_trouble_begins_sooner_at_speed_and_ends_after_its_time() -> None:
    trouble = Trouble("tag-silent", "feed", "x", "silent", 20.0, True, "")
    assert not trouble.acts(19.9, 1)
    assert trouble.acts(20.0, 1)
    assert trouble.acts(2.0, 10)
    assert not trouble.acts(20.0 + LASTS, 1)


def test_silence_stops_the_messages_of_its_subject_only() -> None:
    for seed in range(200):
        found = next((one for one in script(seed) if one.kind == "tag-silent"), None)
        if found is None:
            continue
        play = Play(seed)
        messages = list(islice(plant_messages(play), 5000))
        ends = max(message.due for message in messages)
        assert ends > found.at + 10
        mine = [message.due for message in messages if message.feed == found.subject]
        assert mine
        assert max(mine) < found.at
        assert max(message.due for message in messages if message.feed == "lviv.states") > found.at
        return
    pytest.fail("no seed has a silent tag")


def test_trouble_does_not_change_what_the_others_send() -> None:
    play, calm = Play(11), Play(11, no_trouble=True)
    touched = {trouble.subject for trouble in play.troubles}
    stopped = tuple(subject.replace("/", ".") for subject in touched if "/" in subject)
    with_trouble, without = (
        {(message.topic, message.due, message.payload) for message in islice(plant_messages(one), 3000)}
        for one in (play, calm)
    )
    changed = {topic.removeprefix("umh/v1/").removeprefix("plant/") for topic, _, _ in with_trouble ^ without}
    for topic in changed:
        name = topic.replace("/", ".")
        assert (
            name in touched
            or name.startswith(stopped)
            or max(due for other, due, _ in with_trouble if other.endswith(topic)) > 30
        ), topic


def test_the_plants_hold_sixty_signals_whose_limits_hold_what_they_send() -> None:
    assert len(LINES) == 7
    assert len(tags()) == 60
    for line, tag in tags():
        assert tag.low <= tag.idle <= tag.high, (line.name, tag.name)
        assert tag.low <= tag.usual - 5 * tag.noise, (line.name, tag.name)
        assert tag.usual + 5 * tag.noise <= tag.high, (line.name, tag.name)
