"""Around every page: the session, the same-origin and CSRF checks, forms, and errors that say what to do."""

from __future__ import annotations

import hmac
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from weftline.errors import Complaint, RefusedError, UsageError, WeftlineError
from weftline.web.ports import Site
from weftline.web.render import Visit, page, secure

__all__ = ["COOKIE", "Handler", "form_of", "go", "guarded", "keep", "local_path", "page_errors"]

COOKIE = "weftline_session"
FORM_LIMIT = 64 * 1024
Handler = Callable[[Visit], Awaitable[Response]]
log = structlog.get_logger("weftline.web")


class ForgedFormError(RefusedError):
    """Say that a form did not come from a page of this session."""

    code = "form-not-ours"


class FormTooLargeError(UsageError):
    """Say how large a form may be."""

    code = "form-too-large"
    status = 413


def local_path(text: str) -> str:
    """Return a path of this website to go to after signing in; anything that could lead elsewhere becomes `/`."""
    parts = urlsplit(text)
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if safe and text.isprintable() and "\\" not in text else "/"


def keep(visit: Visit, response: Response, token: str) -> Response:
    """Give the browser its session cookie."""
    response.set_cookie(
        COOKIE, token, httponly=True, samesite="lax", secure=visit.request.url.scheme == "https", path="/"
    )
    return response


def go(path: str) -> Response:
    """Send the browser to a page of ours after a form was done."""
    return secure(RedirectResponse(path, HTTPStatus.SEE_OTHER))


async def form_of(visit: Visit) -> dict[str, str]:
    """Return the fields of a form; refuses what is too large and what did not come from our own page."""
    request = visit.request
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or _foreign(request):
        raise ForgedFormError(
            place=request.url.path,
            found="a form sent from another website",
            expected="a form of this website",
            next_step="Open the page here and send the form again.",
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FORM_LIMIT:
            raise FormTooLargeError(
                place=request.url.path,
                found=f"more than {FORM_LIMIT // 1024} kB",
                expected=f"at most {FORM_LIMIT // 1024} kB",
                next_step="Shorten the text and send it again.",
            )
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
    if visit.signed and not hmac.compare_digest(fields.get("csrf", "").encode(), visit.signed.csrf.encode()):
        raise ForgedFormError(
            place=request.url.path,
            found="a form without this session's token",
            expected="a form of this session",
            next_step="Go back, reload the page and send the form again.",
        )
    return fields


def _foreign(request: Request) -> bool:
    origin = request.headers.get("origin")
    return bool(origin) and origin != "null" and urlsplit(origin or "").netloc != request.headers.get("host", "")


def complaint_page(visit: Visit, error: WeftlineError) -> Response:
    """Show an error with what to do next."""
    complaint = error.complaint
    return page(visit, "error.html", error.status, complaint=complaint, status=error.status)


def _sign_in_first(visit: Visit) -> Response:
    request = visit.request
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = f"/sign-in?next={quote(here, safe='/')}" if request.method == "GET" and here != "/" else "/sign-in"
    if visit.fragment:
        # A refresh must not tear a half-filled form away: live.js shows the notice and the link instead.
        return secure(Response("", HTTPStatus.UNAUTHORIZED, headers={"HX-Trigger": "signed-out"}))
    return secure(RedirectResponse(target, HTTPStatus.SEE_OTHER))


def guarded(site: Site, handler: Handler, *, public: bool = False) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a page: it finds the session and turns every complaint into a page."""

    async def endpoint(request: Request) -> Response:
        token = request.cookies.get(COOKIE, "")
        visit = Visit(request, site, site.about(), site.now())
        try:
            whole = request.method == "GET" and not visit.fragment
            signed = await site.people.session(token, rotate=whole) if token else None
            visit = Visit(request, site, visit.about, visit.now, signed)
            if signed is None and not public:
                return _sign_in_first(visit)
            response = await handler(visit)
            return keep(visit, response, signed.token) if signed and signed.token else response
        except WeftlineError as error:
            log.info("page refused", path=request.url.path, code=error.code, status=error.status)
            return complaint_page(visit, error)
        except HTTPException:
            raise
        except Exception:  # noqa: BLE001 - whatever failed, a person must see what to do next
            # As text: a renderer that shows local variables would write session tokens into the log.
            log.error("page failed", path=request.url.path, trace=traceback.format_exc())
            return page(visit, "error.html", 500, complaint=INTERNAL, status=500, nav=None)

    return endpoint


INTERNAL = Complaint(
    "page-failed",
    "this page",
    "a fault in Weftline",
    "the page",
    "Reload it; if it fails again, run weftline doctor and look at the log for this moment.",
)


async def page_errors(site: Site, request: Request, status: int) -> Response:
    """Show a page for an address that leads nowhere or a method that does not fit."""

    async def handler(visit: Visit) -> Response:
        complaint = Complaint(
            "no-such-page",
            request.url.path,
            "no page at this address",
            "an address of this website",
            "Start at the control tower, or search for the feed or dataset you meant.",
        )
        return page(visit, "error.html", status, complaint=complaint, status=status)

    return await guarded(site, handler, public=True)(request)
