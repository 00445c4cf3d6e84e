"""The website: pages, fragments and static files over the service. No logic of the road lives here."""

from weftline.web.app import exception_handlers, routes

__all__ = ["exception_handlers", "routes"]
