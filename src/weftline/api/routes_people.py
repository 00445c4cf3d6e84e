"""Routes of people: signing in and out, accounts, one-time links, API keys, jobs."""

from __future__ import annotations

from typing import cast

from weftline.api.bodies import (
    JobState,
    JobView,
    KeyMade,
    KeyRequest,
    Keys,
    Link,
    People,
    PersonChange,
    PersonRequest,
    SignInRequest,
)
from weftline.api.operations import Answer, Call, Operation
from weftline.api.security import Identity, cookie_header
from weftline.errors import NotFoundError
from weftline.service.actor import require
from weftline.service.people import LINK_LIFE, SignedIn
from weftline.service.views import KeyView, PersonView, Whoami

__all__ = ["OPERATIONS"]


async def whoami(call: Call) -> Whoami:
    """Tell who the request is taken for, and the session's CSRF token."""
    signed = call.identity.signed
    return Whoami(
        id=call.actor.id,
        name=call.actor.name,
        roles=sorted(call.actor.roles),
        authenticated=call.actor.authenticated,
        scope=call.actor.scope,
        csrf=signed.csrf if signed else "",
        expires=signed.expires if signed else None,
    )


async def sign_in(call: Call) -> Answer:
    """Sign in and set the session cookie; always a new session."""
    asked: SignInRequest = call.body
    token = await call.services.run(call.services.people.sign_in, asked.email, asked.password, call.client)
    signed = await call.services.run(call.services.people.session, token)
    view = await whoami(Call(call.request, call.services, _identity(call, signed), call.query))
    return Answer(view, 200, {"Set-Cookie": cookie_header(token, secure=call.request.url.scheme == "https")})


def _identity(call: Call, signed: SignedIn | None) -> Identity:
    assert signed is not None, "the session was opened a moment ago"
    return Identity(signed.actor, call.client, signed)


async def sign_out(call: Call) -> Answer:
    """End this session."""
    signed = call.identity.signed
    if signed is not None:
        await call.services.run(call.services.people.end_session, signed, signed.id)
    return Answer(None, 204, {"Set-Cookie": cookie_header("", secure=call.request.url.scheme == "https")})


async def people(call: Call) -> People:
    """List everybody who may sign in."""
    return People(people=await call.services.run(call.services.people.list, call.actor))


async def add_person(call: Call) -> Answer:
    """Add a person."""
    asked: PersonRequest = call.body
    person = await call.services.run(
        call.services.people.add, call.actor,
        name=asked.name, email=asked.email, roles=asked.roles, password=asked.password,
    )  # fmt: skip
    return Answer(person, 201)


async def change_person(call: Call) -> PersonView:
    """Change a person's roles or activity."""
    asked: PersonChange = call.body
    return await call.services.run(
        call.services.people.change, call.actor, call.path("email"), roles=asked.roles, active=asked.active
    )


async def link(call: Call) -> Answer:
    """Make a one-time link with which a person sets a password."""
    email = call.path("email")
    token = await call.services.run(call.services.people.link_for, call.actor, email)
    person = await call.services.run(call.services.people.find, email)
    return Answer(Link(person=person, path=f"/welcome/{token}", expires_in=LINK_LIFE // 1_000_000), 201)


async def keys(call: Call) -> Keys:
    """List API keys without their secrets."""
    return Keys(keys=await call.services.run(call.services.keys.list, call.actor))


async def make_key(call: Call) -> Answer:
    """Make an API key; its secret is told this once."""
    asked: KeyRequest = call.body
    view, secret = await call.services.run(call.services.keys.create, call.actor, asked.scope, note=asked.note)
    return Answer(KeyMade(key=view, secret=secret), 201)


async def revoke_key(call: Call) -> KeyView:
    """Revoke an API key for good."""
    return await call.services.run(call.services.keys.revoke, call.actor, int(call.path("id")))


async def job(call: Call) -> JobView:
    """Show a job: how far it is, and its result."""
    require(call.actor, "jobs", "administrator", "engineer", "buyer", "viewer")
    row = await call.services.run(call.services.jobs.get, int(call.path("id")))
    if row is None:
        raise NotFoundError(place="jobs", found=f"number {call.path('id')}", expected="a job")
    return JobView(
        id=row.id,
        kind=row.kind,
        state=cast("JobState", row.state),
        progress=row.progress,
        created=row.created,
        created_by=row.created_by,
        started=row.started,
        ended=row.ended,
        result=row.result,
        log=row.log,
    )


OPERATIONS = (
    Operation("GET", "/api/v1/session", "whoami", "Tell who is asking", "people", whoami, {200: Whoami}),
    Operation(
        "POST",
        "/api/v1/session",
        "signIn",
        "Sign in",
        "people",
        sign_in,
        {200: Whoami},
        request=SignInRequest,
        public=True,
    ),
    Operation("DELETE", "/api/v1/session", "signOut", "Sign out", "people", sign_out, {204: None}),
    Operation("GET", "/api/v1/people", "listPeople", "List people", "people", people, {200: People}),
    Operation(
        "POST",
        "/api/v1/people",
        "addPerson",
        "Add a person",
        "people",
        add_person,
        {201: PersonView},
        request=PersonRequest,
    ),
    Operation(
        "PATCH",
        "/api/v1/people/{email}",
        "changePerson",
        "Change roles or activity",
        "people",
        change_person,
        {200: PersonView},
        request=PersonChange,
    ),
    Operation("POST", "/api/v1/people/{email}/link", "invite", "Make a one-time link", "people", link, {201: Link}),
    Operation("GET", "/api/v1/keys", "listKeys", "List API keys", "people", keys, {200: Keys}),
    Operation(
        "POST", "/api/v1/keys", "makeKey", "Make an API key", "people", make_key, {201: KeyMade}, request=KeyRequest
    ),
    Operation(
        "DELETE", "/api/v1/keys/{id:int}", "revokeKey", "Revoke an API key", "people", revoke_key, {200: KeyView}
    ),
    Operation("GET", "/api/v1/jobs/{id:int}", "getJob", "Show a job", "people", job, {200: JobView}),
)
