"""The HTTP API: routes declared once, used for routing and for OpenAPI. Thin: the use cases live in `service`."""
