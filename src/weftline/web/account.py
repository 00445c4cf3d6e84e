"""Signing in, the one-time link, signing out, and a person's own account."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response

from weftline.errors import InputError, RefusedError, WeftlineError
from weftline.web.render import Visit, page
from weftline.web.visits import COOKIE, form_of, go, keep, local_path

__all__ = ["account", "end_session", "password", "preferences", "sign_in", "sign_out", "welcome"]

YEAR = 365 * 24 * 3600


class PasswordsDifferError(InputError):
    """Say that the two passwords are not the same."""

    code = "passwords-differ"


async def sign_in(visit: Visit) -> Response:
    """Show the form and take it."""
    target = local_path(visit.query("next") or "/")
    if visit.request.method != "POST":
        return go(target) if visit.signed else page(visit, "sign_in.html", email="", target=target, problem="")
    fields = await form_of(visit)
    email, target = fields.get("email", "").strip(), local_path(fields.get("next", "/"))
    try:
        token = await visit.site.people.sign_in(email, fields.get("password", ""), visit.client)
    except WeftlineError as error:
        problem = f"{error.complaint.found[:1].upper()}{error.complaint.found[1:]}. {error.complaint.next_step}"
        status = error.status if isinstance(error, RefusedError) else HTTPStatus.UNPROCESSABLE_ENTITY
        return page(visit, "sign_in.html", status, email=email, target=target, problem=problem)
    return keep(visit, go(target), token)


async def sign_out(visit: Visit) -> Response:
    """End this session."""
    await form_of(visit)
    await visit.site.people.sign_out(visit.request.cookies.get(COOKIE, ""))
    response = go("/sign-in")
    response.delete_cookie(COOKIE, path="/")
    return response


def _checked(fields: dict[str, str]) -> None:
    if fields.get("password", "") != fields.get("again", ""):
        raise PasswordsDifferError(place="again", found="another text", expected="the same password twice")


async def welcome(visit: Visit) -> Response:
    """Let the holder of a one-time link choose a name and a password."""
    token = visit.request.path_params["token"]
    invitation = await visit.site.people.invitation(token)
    if invitation is None:
        return page(visit, "welcome_void.html", HTTPStatus.GONE)
    fields = await form_of(visit) if visit.request.method == "POST" else {}
    problems: dict[str, str] = {}
    if fields:
        name, email = fields.get("name", "").strip(), (invitation.email or fields.get("email", "").strip())
        try:
            if not name:
                raise InputError(place="name", found="no name", expected="the name others see beside your decisions")
            if "@" not in email:
                raise InputError(
                    place="email", found="no e-mail address", expected="an address like name@plant.example"
                )
            _checked(fields)
            session = await visit.site.people.accept(
                token, name=name, email=email, password=fields["password"], client=visit.client
            )
            return keep(visit, go("/"), session)
        except InputError as error:
            complaint = error.complaint
            problems[complaint.place] = f"Found {complaint.found}, expected {complaint.expected}."
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    return page(visit, "welcome.html", status, invitation=invitation, fields=fields, problems=problems)


async def account(visit: Visit, problems: dict[str, str] | None = None, done: str = "") -> Response:
    """Show a person's own account."""
    sessions = await visit.site.people.sessions(visit.actor_session)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    done = done or {"password": "The password was changed.", "session": "The session was ended."}.get(
        visit.query("done"), ""
    )
    return page(visit, "account.html", status, sessions=sessions, problems=problems or {}, done=done)


async def password(visit: Visit) -> Response:
    """Change the person's own password."""
    fields = await form_of(visit)
    try:
        _checked(fields)
        await visit.site.people.change_password(visit.actor_session, fields.get("old", ""), fields["password"])
    except InputError as error:
        complaint = error.complaint
        return await account(visit, {complaint.place: f"Found {complaint.found}, expected {complaint.expected}."})
    except RefusedError as error:
        return await account(visit, {"old": f"{error.complaint.found}. {error.complaint.next_step}"})
    return go("/account?done=password")


async def end_session(visit: Visit) -> Response:
    """End one of the person's other sessions."""
    fields = await form_of(visit)
    await visit.site.people.end_session(visit.actor_session, fields.get("session", ""))
    return go("/account?done=session")


async def preferences(visit: Visit) -> Response:
    """Keep theme and density in cookies, so that the server draws the page right the first time."""
    fields = await form_of(visit)
    response = go(local_path(fields.get("next", "/")))
    for name, allowed in {"theme": ("auto", "light", "dark"), "density": ("comfortable", "compact")}.items():
        if fields.get(name) in allowed:
            response.set_cookie(f"weftline_{name}", fields[name], max_age=YEAR, samesite="lax", httponly=True, path="/")
    return response
