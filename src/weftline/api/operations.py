"""The declaration of a route: one value gives the routing, the checks of its input, and its part of OpenAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from weftline.api.problems import internal, problem
from weftline.api.security import Identity, identity_of
from weftline.errors import InputError, UsageError, WeftlineError, nearest
from weftline.service.actor import Actor, Client, UnauthenticatedError
from weftline.service.services import Services

__all__ = ["Answer", "BodyTooLargeError", "Call", "Operation", "Param", "route", "take_body"]

JSON = "application/json"


class BodyTooLargeError(InputError):
    """Say how large a request's body may be."""

    code = "request-too-large"
    status = 413


class BodyError(UsageError):
    """Say what is wrong with a request's JSON."""

    code = "request-body"


class QueryError(UsageError):
    """Say what is wrong with a request's query string."""

    code = "request-query"


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of the query string."""

    name: str
    type: Literal["string", "integer", "boolean"]
    description: str
    default: str | int | bool | None = None
    repeated: bool = False
    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with another status than the route's first, or with headers."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an operation, with its input read and checked."""

    request: Request
    services: Services
    identity: Identity
    query: Mapping[str, Any]
    body: Any = None

    @property
    def actor(self) -> Actor:
        """Return who asks."""
        return self.identity.actor

    @property
    def client(self) -> Client:
        """Return where the request comes from."""
        return self.identity.client

    @property
    def purpose(self) -> str:
        """Return what the data is asked for, as the header `Purpose` says."""
        return self.request.headers.get("purpose", "api")[:200]

    def path(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `responses` maps statuses to structs (JSON), or None for no body."""

    method: str
    path: str
    name: str
    summary: str
    tag: str
    handler: Handler
    responses: Mapping[int, type | None]
    request: type | None = None
    params: tuple[Param, ...] = ()
    media: tuple[str, ...] = ()
    """Content types of the success answer beside JSON; with no struct declared they stand alone."""
    takes: tuple[str, ...] = ()
    """Content types of a raw body the handler reads itself."""
    public: bool = False
    reads_data: bool = False
    """The answer holds records' content, so it passes the one door; a test holds every such route to it."""
    free_query: bool = False
    """Other names in the query string are the handler's (columns of a dataset)."""


def route(operation: Operation, services: Services) -> Route:
    """Return the Starlette route of an operation."""

    async def endpoint(request: Request) -> Response:
        try:
            identity = identity_of(request)
            if not operation.public and not identity.actor.signed_in:
                raise UnauthenticatedError(
                    place=request.url.path,
                    found="nobody signed in",
                    expected="a session or an API key",
                    next_step="Send Authorization: Bearer KEY, or sign in at /sign-in.",
                )
            query = read_query(operation, request)
            body = None if operation.request is None else await _decode(operation.request, request, services)
            return _respond(await operation.handler(Call(request, services, identity, query, body)))
        except WeftlineError as error:
            return problem(request, error)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - the last answer: logged, and told without details
            return internal(request, error)

    return Route(operation.path, endpoint, methods=[operation.method], name=f"api:{operation.name}")


def _respond(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, Answer):
        answer = Answer(answer)
    if answer.body is None:
        return Response(status_code=answer.status, headers=dict(answer.headers))
    return Response(msgspec.json.encode(answer.body), answer.status, headers=dict(answer.headers), media_type=JSON)


def read_query(operation: Operation, request: Request) -> dict[str, Any]:
    """Return the declared parameters, typed. Raises QueryError for unknown names and wrong values."""
    declared = {param.name: param for param in operation.params}
    if not operation.free_query:
        for name in request.query_params:
            if name not in declared:
                raise QueryError(
                    place=request.url.path,
                    found=f"the parameter '{name}'",
                    expected="a parameter of this address",
                    next_step=nearest(name, declared).capitalize(),
                )
    return {name: _value(param, request) for name, param in declared.items()}


def _value(param: Param, request: Request) -> Any:
    texts = request.query_params.getlist(param.name)
    if param.repeated:
        return texts
    if not texts:
        return param.default
    text = texts[-1]
    if param.type == "integer":
        if not (text.lstrip("-").isdigit() and text.isascii() and len(text) <= 19):
            raise _wrong(param, text, "a whole number")
        number = int(text)
        low, high = param.minimum, param.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            raise _wrong(param, text, f"{low if low is not None else '…'} to {high if high is not None else '…'}")
        return number
    if param.type == "boolean":
        if text.lower() not in {"true", "false", "1", "0"}:
            raise _wrong(param, text, "true or false")
        return text.lower() in {"true", "1"}
    return text


def _wrong(param: Param, found: str, expected: str) -> QueryError:
    return QueryError(place=f"parameter {param.name}", found=f"'{found[:80]}'", expected=expected)


async def _decode(kind: type, request: Request, services: Services) -> Any:
    raw = await take_body(request, services.limits.request_bytes)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise BodyError(place=request.url.path, found=str(error), expected="the request's declared fields") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(place=request.url.path, found=f"no JSON ({error})", expected="one JSON object") from error


async def take_body(request: Request, limit: int) -> bytes:
    """Return the body. Raises BodyTooLargeError as soon as more than `limit` bytes are announced or arrive."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(request, limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(request, limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(request: Request, limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        place=request.url.path,
        found=f"more than {limit} bytes",
        expected=f"at most {limit} bytes",
        next_step="Send it in several requests.",
    )
