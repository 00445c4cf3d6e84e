"""Signing in: the ways in that work, and the attacks that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from weftline.clock import ShiftedClock
from weftline.errors import ConflictError, InputError, NotFoundError, UsageError
from weftline.service.actor import ANONYMOUS, LOCAL_OPERATOR, Client, ForbiddenError, UnauthenticatedError
from weftline.service.keys import KeyInvalidError, Keys
from weftline.service.passwords import Passwords, TooManyTriesError, Tries, WeakPasswordError
from weftline.service.people import (
    FULL_LIFE,
    GRACE,
    IDLE_LIFE,
    LINK_LIFE,
    ROTATE_AFTER,
    LinkVoidError,
    People,
    WrongPasswordError,
)
from weftline.store.control import Control
from weftline.store.control.keys import KeyTable
from weftline.store.control.people import PeopleTable

HERE = Client("127.0.0.1", "test browser")
SECRET = "a long enough sentence"


class MovableClock(ShiftedClock):
    """A clock whose steady time moves with the shift too."""

    def steady(self) -> float:
        return super().steady() + self.shift / 1_000_000


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def control(tmp_path: Path):
    opened = Control.open(tmp_path / "control.db")
    yield opened
    opened.close()


@pytest.fixture
def people(control: Control, clock: MovableClock) -> People:
    return People(PeopleTable(control), clock, Passwords(memory_kib=8, passes=1, lanes=1))


@pytest.fixture
def keys(control: Control, people: People, clock: MovableClock) -> Keys:
    return Keys(KeyTable(control), people, clock)


def ada(people: People, *roles: str) -> None:
    people.add(LOCAL_OPERATOR, name="Ada", email="Ada@Plant.example", roles=roles or ["viewer"], password=SECRET)


def test_the_first_link_makes_an_administrator_once(people: People) -> None:
    token = people.first_link()
    found = people.invitation(token)
    assert found is not None
    assert (found.first, found.email) == (True, "")
    session = people.accept(token, name="Ada", email="ada@plant.example", password=SECRET, client=HERE)
    signed = people.session(session)
    assert signed is not None
    assert signed.actor.roles == {"administrator"}
    assert people.first_link() == ""
    with pytest.raises(LinkVoidError):
        people.accept(token, name="Eve", email="eve@plant.example", password=SECRET, client=HERE)


def test_a_newer_first_link_voids_the_older_one(people: People) -> None:
    old, new = people.first_link(), people.first_link()
    assert people.invitation(old) is None
    assert people.invitation(new) is not None


def test_a_first_link_is_void_once_an_administrator_came_another_way(people: People, tmp_path: Path) -> None:
    token = people.first_link()
    (tmp_path / "secret").write_text(SECRET + "\n")
    assert people.first_from_file(tmp_path / "secret") is True
    assert people.first_from_file(tmp_path / "secret") is False
    assert people.invitation(token) is None
    assert people.sign_in("admin@localhost", SECRET, HERE)


def test_an_unreadable_or_weak_password_file_is_a_clear_error(people: People, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="WEFTLINE_ADMIN_PASSWORD_FILE"):
        people.first_from_file(tmp_path / "absent")
    (tmp_path / "secret").write_text("short")
    with pytest.raises(WeakPasswordError):
        people.first_from_file(tmp_path / "secret")
    assert people.first_link()


def test_an_invitation_expires_after_thirty_minutes(people: People, clock: MovableClock) -> None:
    people.add(LOCAL_OPERATOR, name="Ben", email="ben@plant.example", roles=["buyer"])
    token = people.link_for(LOCAL_OPERATOR, "ben@plant.example")
    clock.shift = LINK_LIFE - 1_000_000
    assert people.invitation(token) is not None
    clock.shift = LINK_LIFE + 1_000_000
    assert people.invitation(token) is None
    with pytest.raises(LinkVoidError):
        people.accept(token, name="", email="", password=SECRET, client=HERE)


def test_a_weak_password_does_not_use_the_link_up(people: People) -> None:
    people.add(LOCAL_OPERATOR, name="Ben", email="ben@plant.example", roles=["buyer"])
    token = people.link_for(LOCAL_OPERATOR, "ben@plant.example")
    with pytest.raises(WeakPasswordError):
        people.accept(token, name="", email="", password="short", client=HERE)
    session = people.accept(token, name="ignored", email="ignored", password=SECRET, client=HERE)
    signed = people.session(session)
    assert signed is not None
    assert (signed.email, signed.actor.authenticated) == ("ben@plant.example", "one-time-link")


def test_a_reset_link_ends_every_session(people: People) -> None:
    ada(people)
    session = people.sign_in("ada@plant.example", SECRET, HERE)
    token = people.link_for(LOCAL_OPERATOR, "ada@plant.example")
    people.accept(token, name="", email="", password="another long sentence", client=HERE)
    assert people.session(session) is None
    with pytest.raises(WrongPasswordError):
        people.sign_in("ada@plant.example", SECRET, HERE)


def test_each_sign_in_gives_a_new_token_and_a_planted_one_is_never_adopted(people: People) -> None:
    ada(people)
    planted = "planted-by-an-attacker"
    assert people.session(planted) is None
    first = people.sign_in("ADA@plant.example ", SECRET, HERE)
    second = people.sign_in("ada@plant.example", SECRET, HERE)
    assert len({planted, first, second}) == 3
    assert people.session(planted) is None


def test_only_hashes_of_secrets_reach_the_disk(people: People, keys: Keys, control: Control, tmp_path: Path) -> None:
    ada(people, "administrator")
    session = people.sign_in("ada@plant.example", SECRET, HERE)
    link = people.link_for(LOCAL_OPERATOR, "ada@plant.example")
    _, key = keys.create(LOCAL_OPERATOR, "feed:press-1")
    control.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("control.db*"))
    for secret in (SECRET, session, link, key.split("_", 2)[2]):
        assert secret.encode() not in stored
    assert b"$argon2id$" in stored


def test_a_session_ends_when_idle_and_at_its_full_life(people: People, clock: MovableClock) -> None:
    ada(people)
    idle = people.sign_in("ada@plant.example", SECRET, HERE)
    clock.shift = IDLE_LIFE + 1
    assert people.session(idle) is None
    clock.shift = 0
    assert people.session(idle) is None, "an ended session does not come back"
    busy = people.sign_in("ada@plant.example", SECRET, HERE)
    for hours in range(0, FULL_LIFE, IDLE_LIFE // 2):
        clock.shift = hours
        assert people.session(busy) is not None
    clock.shift = FULL_LIFE + 1
    assert people.session(busy) is None


def test_a_token_is_rotated_and_the_old_one_dies_after_its_grace(people: People, clock: MovableClock) -> None:
    ada(people)
    old = people.sign_in("ada@plant.example", SECRET, HERE)
    clock.shift = ROTATE_AFTER + 1
    signed = people.session(old, rotate=True)
    assert signed is not None
    assert signed.token not in {"", old}
    again = people.session(old, rotate=True)
    assert again is not None, "a request under way still carries the old token"
    assert again.token == ""
    assert people.session(signed.token) is not None
    clock.shift += GRACE + 1_000_000
    assert people.session(old) is None
    assert people.session(signed.token) is None, "using a token that was replaced ends the session"


def test_a_rotation_that_never_reached_the_browser_does_not_sign_it_out(people: People, clock: MovableClock) -> None:
    ada(people)
    old = people.sign_in("ada@plant.example", SECRET, HERE)
    clock.shift = ROTATE_AFTER + 1
    lost = people.session(old, rotate=True)
    assert lost is not None
    clock.shift += GRACE + 1_000_000
    again = people.session(old, rotate=True)
    assert again is not None
    assert again.token not in {"", old, lost.token}
    assert people.session(lost.token) is None
    assert people.session(again.token) is not None


def test_a_stream_sees_its_session_end_but_not_its_token_change(people: People, clock: MovableClock) -> None:
    ada(people)
    token = people.sign_in("ada@plant.example", SECRET, HERE)
    signed = people.session(token)
    assert signed is not None
    clock.shift = ROTATE_AFTER + 1
    assert people.session(token, rotate=True)
    assert people.alive(signed)
    people.change(LOCAL_OPERATOR, "ada@plant.example", roles=["buyer"])
    assert not people.alive(signed)


def test_signing_out_ends_the_session_on_the_server(people: People) -> None:
    ada(people)
    session = people.sign_in("ada@plant.example", SECRET, HERE)
    people.sign_out(session)
    assert people.session(session) is None


def test_an_inactive_person_is_out_at_once(people: People, keys: Keys) -> None:
    ada(people)
    session = people.sign_in("ada@plant.example", SECRET, HERE)
    people.change(LOCAL_OPERATOR, "ada@plant.example", active=False)
    assert people.session(session) is None
    with pytest.raises(WrongPasswordError):
        people.sign_in("ada@plant.example", SECRET, HERE)


def test_five_wrong_tries_stop_an_account_whatever_the_address(people: People, clock: MovableClock) -> None:
    ada(people)
    for number in range(5):
        with pytest.raises(WrongPasswordError):
            people.sign_in("ada@plant.example", "wrong password here", Client(f"10.0.0.{number}"))
    with pytest.raises(TooManyTriesError):
        people.sign_in("ada@plant.example", SECRET, HERE)
    clock.shift = 901_000_000
    assert people.sign_in("ada@plant.example", SECRET, HERE)


def test_thirty_wrong_tries_stop_an_address_whatever_the_account(people: People) -> None:
    ada(people)
    for number in range(30):
        with pytest.raises(WrongPasswordError):
            people.sign_in(f"nobody-{number}@plant.example", "wrong password here", Client("10.0.0.9"))
    with pytest.raises(TooManyTriesError):
        people.sign_in("ada@plant.example", SECRET, Client("10.0.0.9"))
    assert people.sign_in("ada@plant.example", SECRET, HERE)


def test_an_unknown_account_and_a_wrong_password_are_told_apart_by_nothing(people: People) -> None:
    ada(people)
    told = []
    for email in ("ada@plant.example", "nobody@plant.example"):
        with pytest.raises(WrongPasswordError) as caught:
            people.sign_in(email, "wrong password here", HERE)
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_the_count_of_tries_is_bounded_in_memory(clock: MovableClock) -> None:
    tries = Tries(clock, limit=5, keys=10)
    for number in range(100):
        tries.fail(str(number))
    assert len(tries._failed) == 10


def test_changing_a_password_needs_the_old_one_and_ends_other_sessions(people: People) -> None:
    ada(people)
    here = people.sign_in("ada@plant.example", SECRET, HERE)
    there = people.sign_in("ada@plant.example", SECRET, HERE)
    signed = people.session(here)
    assert signed is not None
    assert [view.current for view in people.sessions(signed)].count(True) == 1
    with pytest.raises(WrongPasswordError):
        people.change_password(signed, "wrong password here", "another long sentence")
    people.change_password(signed, SECRET, "another long sentence")
    assert people.session(here) is not None
    assert people.session(there) is None


def test_a_person_ends_only_their_own_sessions(people: People) -> None:
    ada(people)
    people.add(LOCAL_OPERATOR, name="Eve", email="eve@plant.example", roles=["viewer"], password=SECRET)
    mine = people.session(people.sign_in("ada@plant.example", SECRET, HERE))
    theirs = people.session(people.sign_in("eve@plant.example", SECRET, HERE))
    assert mine is not None
    assert theirs is not None
    with pytest.raises(NotFoundError):
        people.end_session(theirs, mine.id)


def test_the_last_administrator_stays_one(people: People) -> None:
    ada(people, "administrator")
    with pytest.raises(ConflictError):
        people.change(LOCAL_OPERATOR, "ada@plant.example", roles=["viewer"])
    with pytest.raises(ConflictError):
        people.change(LOCAL_OPERATOR, "ada@plant.example", active=False)


@pytest.mark.parametrize("email", ["", "no-at", "@x", "x@", "a b@c", "a@b\n"], ids=repr)
def test_an_address_that_is_none_is_refused(people: People, email: str) -> None:
    if email == "a@b\n":
        email = "a@\nb"
    with pytest.raises(InputError):
        people.add(LOCAL_OPERATOR, name="X", email=email, roles=["viewer"])


def test_only_an_administrator_adds_people_and_makes_keys(people: People, keys: Keys) -> None:
    ada(people)
    signed = people.session(people.sign_in("ada@plant.example", SECRET, HERE))
    assert signed is not None
    for actor, error in ((ANONYMOUS, UnauthenticatedError), (signed.actor, ForbiddenError)):
        with pytest.raises(error):
            people.add(actor, name="X", email="x@plant.example", roles=["administrator"])
        with pytest.raises(error):
            people.link_for(actor, "ada@plant.example")
        with pytest.raises(error):
            keys.create(actor, "feed:press-1")


def test_an_outdated_hash_is_renewed_at_sign_in(control: Control, clock: MovableClock) -> None:
    old = People(PeopleTable(control), clock, Passwords(memory_kib=8, passes=1, lanes=1))
    ada(old)
    before = PeopleTable(control).by_email("ada@plant.example")
    new = People(PeopleTable(control), clock, Passwords(memory_kib=16, passes=1, lanes=1))
    assert new.sign_in("ada@plant.example", SECRET, HERE)
    after = PeopleTable(control).by_email("ada@plant.example")
    assert before is not None
    assert after is not None
    assert "m=8," in str(before.password_hash)
    assert "m=16," in str(after.password_hash)


def test_a_feed_key_may_push_to_its_feeds_and_nothing_else(keys: Keys) -> None:
    view, secret = keys.create(LOCAL_OPERATOR, "feed:plant-a/*")
    actor = keys.verify(secret)
    assert (actor.may_push("plant-a/press-1"), actor.may_push("plant-b/press-1")) == (True, False)
    assert not actor.has("administrator", "engineer", "buyer", "supplier", "viewer")
    assert secret.startswith(view.prefix)


def test_an_actor_key_follows_its_person(people: People, keys: Keys, clock: MovableClock) -> None:
    ada(people, "engineer")
    _, secret = keys.create(LOCAL_OPERATOR, "actor:ada@plant.example")
    assert keys.verify(secret).roles == {"engineer"}
    people.change(LOCAL_OPERATOR, "ada@plant.example", roles=["viewer"])
    clock.shift = 6_000_000
    assert keys.verify(secret).roles == {"viewer"}
    people.change(LOCAL_OPERATOR, "ada@plant.example", active=False)
    clock.shift = 12_000_000
    with pytest.raises(KeyInvalidError):
        keys.verify(secret)


def test_a_revoked_key_is_refused_at_once(keys: Keys) -> None:
    view, secret = keys.create(LOCAL_OPERATOR, "feed:press-1")
    keys.verify(secret)
    assert keys.revoke(LOCAL_OPERATOR, view.id).revoked is not None
    with pytest.raises(KeyInvalidError):
        keys.verify(secret)


def test_a_key_with_a_wrong_secret_or_form_is_refused(keys: Keys) -> None:
    _, secret = keys.create(LOCAL_OPERATOR, "feed:press-1")
    keys.verify(secret)
    for wrong in ("", "wk_", secret[:-1], secret[:-1] + ("A" if secret[-1] != "A" else "B"), secret + "x", "Basic abc"):
        with pytest.raises(KeyInvalidError):
            keys.verify(wrong)
