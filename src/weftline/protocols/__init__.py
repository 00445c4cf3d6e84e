"""Speak the protocols that connectors share: one client each, no connector knowledge."""
