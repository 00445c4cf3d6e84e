"""Errors as RFC 9457 problem details: place, found, expected and next step beside the standard members."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from weftline.errors import Complaint, WeftlineError

__all__ = ["MEDIA", "Problem", "internal", "plain", "problem"]

MEDIA = "application/problem+json"
RETRY_SECONDS = {503: "1", 429: "60"}
log = structlog.get_logger("weftline.api")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457 §3.1, extended. `type` is the code as a URN; `docs/errors/` explains each."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    place: str
    found: str
    expected: str
    next: str
    line: int = 0
    column: int = 0


def problem(request: Request, error: WeftlineError) -> Response:
    """Return an error of ours as a problem."""
    return _response(request, error.complaint, error.status)


def plain(request: Request, status: int, *, code: str, found: str, expected: str, next_step: str = "") -> Response:
    """Return a problem that no exception of ours told."""
    return _response(request, Complaint(code, request.url.path, found, expected, next_step), status)


def internal(request: Request, error: Exception) -> Response:
    """Log a fault of ours and say so without its details."""
    log.error("request failed", path=request.url.path, request=_request_id(request), exc_info=error)
    return plain(
        request,
        500,
        code="internal",
        found="a fault in Weftline",
        expected="an answer",
        next_step="Try again; if it fails again, give the administrator the request id in `instance`.",
    )


def _response(request: Request, complaint: Complaint, status: int) -> Response:
    body = Problem(
        type=f"urn:weftline:error:{complaint.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=complaint.sentence(),
        instance=f"urn:request:{_request_id(request)}",
        code=complaint.code,
        place=complaint.place,
        found=complaint.found,
        expected=complaint.expected,
        next=complaint.next_step,
        line=complaint.line,
        column=complaint.column,
    )
    headers = {"Retry-After": RETRY_SECONDS[status]} if status in RETRY_SECONDS else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="weftline"'
    return Response(msgspec.json.encode(body), status, headers=headers, media_type=MEDIA)


def _request_id(request: Request) -> str:
    return str(request.scope.get("weftline.request", ""))
