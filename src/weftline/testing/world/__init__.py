"""The demo world: a fabric folder of two plants, six suppliers and two carriers, and simulators that play it."""

from __future__ import annotations

from weftline.testing.world.fabric import PUSH_FEEDS, move_broker, write_world
from weftline.testing.world.script import Trouble, script
from weftline.testing.world.world import World, free_port

__all__ = ["PUSH_FEEDS", "Trouble", "World", "free_port", "move_broker", "script", "write_world"]
