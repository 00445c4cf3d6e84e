"""Routes about the process itself: health, readiness, metrics, the API's own description, the stream of events."""

from __future__ import annotations

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.responses import Response

from weftline.api.bodies import Health
from weftline.api.events import events
from weftline.api.operations import Answer, Call, Operation, Param
from weftline.service.decisions import Decision
from weftline.service.services import Services
from weftline.service.views import Readiness

__all__ = ["OPERATIONS", "Metrics"]

METRICS = "text/plain; version=1.0.0; charset=utf-8"


class Metrics:
    """Numbers of this process for Prometheus. No label holds a feed's, a person's or a partner's name."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._reads = Counter(
            "weftline_door_reads", "Reads and streams asked of the one door", ["decision"], registry=self.registry
        )
        services.door.observers.append(self._decided)

    def _decided(self, decision: Decision) -> None:
        self._reads.labels(decision.decision).inc()

    def text(self) -> bytes:
        """Return the exposition. Blocks for as long as the road's gauges take."""
        road = self._services.road
        states: dict[str, int] = road.tower().states
        values = {
            **road.gauges(),
            "stream_clients": float(self._services.hub.clients),
            "ready": float(road.readiness().ready),
            "commit_seq": float(road.commit_seq()),
            **{f"feeds_{state}": float(count) for state, count in states.items()},
        }
        for name, value in values.items():
            gauge = self._gauges.get(name)
            if gauge is None:
                gauge = self._gauges[name] = Gauge(f"weftline_{name}", name.replace("_", " "), registry=self.registry)
            gauge.set(value)
        for name in self._gauges.keys() - values.keys():
            self._gauges[name].set(0.0 if name.startswith("feeds_") else float("nan"))
        found: bytes = generate_latest(self.registry)
        return found


async def healthz(call: Call) -> Health:
    """Answer while the process lives."""
    return Health(status="alive", version=call.services.version)


async def readyz(call: Call) -> Answer:
    """Tell whether the road does its work: 503 when frames wait and no group was tried for five seconds."""
    found = await call.services.run(call.services.road.readiness)
    return Answer(found, 200 if found.ready else 503, {} if found.ready else {"Retry-After": "5"})


async def metrics(call: Call) -> Response:
    """Give the process's numbers in Prometheus's text format."""
    return Response(await call.services.run(call.request.app.state.metrics.text), media_type=METRICS)


async def openapi(call: Call) -> Response:
    """Describe this API."""
    return Response(msgspec.json.encode(call.request.app.state.openapi), media_type="application/json")


OPERATIONS = (
    Operation("GET", "/healthz", "healthz", "Is the process alive", "system", healthz, {200: Health}, public=True),
    Operation(
        "GET",
        "/readyz",
        "readyz",
        "Does the road work",
        "system",
        readyz,
        {200: Readiness, 503: Readiness},
        public=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Numbers for Prometheus",
        "system",
        metrics,
        {200: None},
        media=("text/plain",),
        public=True,
    ),
    Operation(
        "GET",
        "/api/v1/openapi.json",
        "openapi",
        "Describe this API",
        "system",
        openapi,
        {200: None},
        media=("application/json",),
        public=True,
    ),
    Operation(
        "GET",
        "/events",
        "events",
        "Stream what changes",
        "system",
        events,
        {200: None},
        media=("text/event-stream",),
        reads_data=True,
        params=(
            Param("topics", "string", "feeds, tower, ledger or feed:NAME, parted by commas.", ""),
            Param("after", "string", "Id of the last event seen, where Last-Event-ID cannot be sent.", ""),
        ),
    ),
)
