"""Profiles and shared fixtures of every tier."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_quiet = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None, suppress_health_check=_quiet)
settings.register_profile("full", max_examples=2000, deadline=None, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("WEFTLINE_TEST_PROFILE", "ci"))
