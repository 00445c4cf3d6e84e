"""Bring the demo world to life: the broker and one child process for each protocol, started and stopped together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from weftline.errors import UsageError
from weftline.testing.mqtt_process import BrokerProcess
from weftline.testing.world.fabric import move_broker, read_world, world_file
from weftline.testing.world.script import Trouble, script

__all__ = ["World", "free_port"]

_END_SECONDS = 5.0
_SPEEDS = (1.0, 100.0)


class WorldSpeedError(UsageError):
    """Refuse a speed at which the stated cadences would be wrong."""

    code = "world-speed"


class World:
    """The demo world for the length of a ``with`` block; it ends only the processes it started.

    `folder` holds what `write_world` wrote; `seed` and `http_base` default to what was written there. `keys` maps each
    of `PUSH_FEEDS` to an API key of the server at `http_base`; a carrier without a key is answered 401. At `speed` N
    (1 to 100) messages and business events come N times as often; timestamps stay those of the wall clock.

    If the broker's port is taken, the broker gets another one and the folder's connections are written anew, so load
    the folder after `start_broker`. What the world knows of itself (number of the run, logs) lies in `data/world`: a
    restart on the same folder goes on with new identities. With `log=True` every simulator keeps JSON lines of what it
    sent (`sent_log`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int | None = None,
        speed: float = 1.0,
        no_trouble: bool = False,
        http_base: str = "",
        keys: Mapping[str, str] | None = None,
        log: bool = False,
    ) -> None:
        if not _SPEEDS[0] <= speed <= _SPEEDS[1]:
            raise WorldSpeedError(
                place="--speed",
                found=f"{speed:g}",
                expected="1 to 100",
                next_step="The cadences of the feeds fit these.",
            )
        known = read_world(folder)
        self.folder = folder
        self.seed = int(str(known["seed"])) if seed is None else seed
        self.speed = speed
        self.http_base = http_base or str(known["http_base"])
        self.mqtt_port = int(str(known["mqtt_port"]))
        self.run = 0
        """Number of this start, from 1; set by `start`."""
        self.started_ms = 0
        """Start of the world, milliseconds since 1970; the script's times count from here."""
        self._no_trouble = no_trouble
        self._keys = dict(keys or {})
        self._log = log
        self._broker: BrokerProcess | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def troubles(self) -> list[Trouble]:
        """Return the script of this world."""
        return script(self.seed, no_trouble=self._no_trouble)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and the simulators; a failure leaves nothing running."""
        try:
            self.start_broker()
            self.start_simulators()
        except BaseException:
            self.stop()
            raise

    def start_broker(self) -> None:
        """Start the broker alone, on the port of the folder or on a free one."""
        if not _is_free(self.mqtt_port):
            self.mqtt_port = free_port()
            move_broker(self.folder, self.mqtt_port)
        self._broker = BrokerProcess(port=self.mqtt_port, seed=self.seed)
        self._broker.start()

    def start_simulators(self, keys: Mapping[str, str] | None = None, http_base: str = "") -> None:
        """Start the simulators; the world's time and its script begin now. What a server made meanwhile is taken in."""
        self._keys.update(keys or {})
        self.http_base = http_base or self.http_base
        state = world_file(self.folder).parent
        self.run = _next_run(state / "run")
        self.started_ms = int(time.time() * 1000)
        place = state / "keys.json"
        place.touch(0o600)
        place.write_text(json.dumps(self._keys), "utf-8")
        self._spawn("plants", "--port", str(self.mqtt_port))
        self._spawn("suppliers", "--folder", str(self.folder))
        self._spawn("carriers", "--http-base", self.http_base, "--keys-file", str(place))

    def _spawn(self, name: str, *more: str) -> None:
        arguments = ["--seed", str(self.seed), "--run", str(self.run), "--speed", str(self.speed), "--exit-with-parent"]
        arguments += ["--start-ms", str(self.started_ms)]
        if self._no_trouble:
            arguments.append("--no-trouble")
        if self._log:
            arguments += ["--log", str(self.sent_log(name))]
        # A process group of its own keeps a Ctrl+C of the terminal from the child: the parent ends it, in order.
        self._children[name] = subprocess.Popen(
            [sys.executable, "-m", f"weftline.testing.world.{name}", *arguments, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )

    def sent_log(self, name: str) -> Path:
        """Return the log of what plants, suppliers or carriers sent in this run."""
        return world_file(self.folder).parent / "sent" / f"{name}-{self.run}.jsonl"

    def pids(self) -> dict[str, int]:
        """Return the process id of the broker and of each simulator that is running."""
        found = {name: child.pid for name, child in self._children.items() if child.poll() is None}
        return {**found, "broker": self._broker.pid} if self._broker is not None else found

    def stop_simulators(self) -> None:
        """End the simulators: close their input, after five seconds SIGTERM, then SIGKILL. The broker stays."""
        for child in self._children.values():
            if child.stdin is not None:
                child.stdin.close()
        for child in self._children.values():
            _ended(child)
        self._children.clear()

    def stop(self) -> None:
        """End the simulators, then the broker."""
        self.stop_simulators()
        if self._broker is not None:
            self._broker.stop()
            self._broker = None


def _ended(child: subprocess.Popen[bytes]) -> None:
    for force in (child.terminate, child.kill):
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            force()
    child.wait()


def _next_run(place: Path) -> int:
    number = int(place.read_text("utf-8")) + 1 if place.exists() else 1
    part = place.with_name("run.part")
    part.write_text(str(number), "utf-8")
    part.replace(place)
    return number


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
