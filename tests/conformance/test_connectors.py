"""Every installed connector keeps every promise of `weftline.testing.conformance`."""

from __future__ import annotations

from pathlib import Path

import pytest

from weftline.testing.conformance import CHECKS, BenchMissingError, Check, bench_of, kinds, run_check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", sorted(kinds()))
async def test_connector(kind: str, check: Check, tmp_path: Path) -> None:
    await run_check(kind, check, tmp_path)


def test_a_connector_without_a_bench_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchMissingError, match=r"benches/carrier-pigeon\.py"):
        bench_of("carrier-pigeon", tmp_path)


def test_a_variant_that_is_not_there_is_named_beside_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BenchMissingError, match="no bench 'semaphore', expected one of mosquitto, relayed"):
        bench_of("mqtt", tmp_path, "semaphore")
