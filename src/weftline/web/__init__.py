"""The website: pages, fragments and static files over the service. No logic of the road lives here."""

from weftline.web.app import exception_handlers, routes
from weftline.web.ports import About, Site, Step
from weftline.web.service_site import ServiceSite

__all__ = ["About", "ServiceSite", "Site", "Step", "exception_handlers", "routes"]
