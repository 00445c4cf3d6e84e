"""Pages out of templates: the shell, the filters, fragments and their full-page twins, security headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from weftline.clock import from_micros
from weftline.service.actor import Client
from weftline.service.people import SignedIn
from weftline.web import format as written
from weftline.web.assets import DIGEST, asset_url
from weftline.web.charts import bars, sparkline
from weftline.web.ports import About, Asker, Site
from weftline.web.status import feed_status, state_shape

__all__ = ["CSP", "Visit", "page", "secure", "segment", "zone_of"]

CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to a page: who asks, and what the shell needs to know."""

    request: Request
    site: Site
    about: About
    now: int
    signed: SignedIn | None = None

    @property
    def actor_session(self) -> SignedIn:
        """Return the session of a page that is shown to signed-in people only."""
        assert self.signed is not None
        return self.signed

    @property
    def asker(self) -> Asker:
        """Return who reads, for the door."""
        return Asker(self.actor_session.actor, self.client)

    @property
    def client(self) -> Client:
        """Return where the request comes from."""
        request = self.request
        return Client(
            address=request.client.host if request.client else "",
            agent=request.headers.get("user-agent", "")[:200],
            request=request.headers.get("x-request-id", ""),
        )

    @property
    def fragment(self) -> bool:
        """Tell whether htmx asks for the content alone."""
        return self.request.headers.get("hx-request") == "true" and "hx-boosted" not in self.request.headers

    def query(self, name: str) -> str:
        """Return one query parameter, at most 400 characters of it."""
        return self.request.query_params.get(name, "")[:400]


def zone_of(about: About, site: str = "") -> ZoneInfo:
    """Return a site's time zone, else the fabric's; a name the machine does not know falls back to UTC."""
    for name in (about.sites.get(site, ""), about.zone):
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError):
                # The page then says UTC beside its times, which is true.
                return ZoneInfo("UTC")
    return ZoneInfo("UTC")


def segment(text: str) -> str:
    """Return one path segment of a URL."""
    return quote(text, safe="")


def _finalize(value: Any) -> Any:
    """Make every character a template prints visible; what a template marked as markup is left alone."""
    return written.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _exact(value: object) -> Markup:
    """Return text escaped but otherwise exact: for form values and raw text that a person copies."""
    return escape(str(value))


def _when(now: int, zone: ZoneInfo, micros: int | None, *, fine: bool = False) -> Markup:
    if micros is None:
        return Markup('<span class="nil">unknown</span>')
    iso = written.isotime(micros)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        iso, iso.replace("T", " ").rstrip("Z"), written.placed(micros, zone, now, fine=fine)
    )


def _ago(now: int, micros: int | None) -> Markup:
    """Return the age of a moment; live.js keeps it growing between refreshes."""
    if micros is None:
        return Markup('<span class="nil">unknown</span>')
    iso = written.isotime(micros)
    return Markup('<time class="age" datetime="{}" title="{} UTC" data-since="{}">{}</time>').format(
        iso, iso.replace("T", " ").rstrip("Z"), micros // 1000, written.age(_passed(now, micros))
    )


def _passed(now: int, micros: int) -> float:
    """Return seconds since a moment; what happened while the page was made happened now."""
    seconds = (now - micros) / 1e6
    return 0.0 if -1 < seconds < 0 else seconds


def _until(now: int, micros: int) -> str:
    left = (micros - now) / 1e6
    return written.age(left) if left >= 0 else f"{written.age(-left)} over"


def _initials(name: str) -> str:
    words = [word for word in written.visible(name).split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words))[:2].upper() or "?"


def _query(base: Mapping[str, str], **changes: str) -> str:
    pairs = {**base, **changes}
    text = urlencode({name: value for name, value in pairs.items() if value})
    return f"?{text}" if text else "?"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
        auto_reload=False,
    )
    environment.filters |= {
        "exact": _exact,
        "seg": segment,
        "span": written.age,
        "count": written.count,
        "decimal": written.decimal,
        "percent": written.percent,
        "size": written.size,
        "ms": written.milliseconds,
        "cut": written.visible,
        "initials": _initials,
        "isotime": written.isotime,
    }
    environment.globals |= {
        "asset": asset_url,
        "digest": DIGEST,
        "feed_status": feed_status,
        "state_shape": state_shape,
        "sparkline": sparkline,
        "bars": bars,
        "query": _query,
    }
    return environment


ENVIRONMENT = _environment()


def secure(response: Response, *, private: bool = True) -> Response:
    """Put the security headers on a page."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    if private:
        response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "HX-Request, Cookie"
    return response


def page(visit: Visit, template: str, code: int = 200, **context: Any) -> Response:
    """Render a page, or its content alone when htmx asks for the fragment."""
    zone = context.pop("zone", None) or zone_of(visit.about)
    cookies = visit.request.cookies
    theme = cookies.get("weftline_theme", "")
    density = cookies.get("weftline_density", "")
    shell: dict[str, Any] = {
        "visit": visit,
        "about": visit.about,
        "signed": visit.signed,
        "now": visit.now,
        "zone": zone,
        "zone_word": from_micros(visit.now).astimezone(zone).strftime("%Z"),
        "path": visit.request.url.path,
        "here_url": visit.request.url.path + (f"?{visit.request.url.query}" if visit.request.url.query else ""),
        "theme": theme if theme in {"light", "dark"} else "",
        "density": "compact" if density == "compact" else "",
        "layout": "fragment.html" if visit.fragment else "base.html",
        "when": partial(_when, visit.now, zone),
        "ago": partial(_ago, visit.now),
        "until": partial(_until, visit.now),
        "nav": None,
    }
    if visit.signed is not None and not visit.fragment and "nav" not in context:
        shell["nav"] = visit.site.road.tower()
    html = ENVIRONMENT.get_template(template).render(shell | context)
    return secure(HTMLResponse(html, code))
