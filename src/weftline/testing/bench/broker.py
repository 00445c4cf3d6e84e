"""The other side of the MQTT benchmarks: mosquitto, and a generator in C where a compiler is there, else in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from importlib.resources import as_file, files
from pathlib import Path

from weftline.errors import TransientError
from weftline.testing.mosquitto import Mosquitto

__all__ = ["Generator", "GeneratorError", "floor_qos1"]


class GeneratorError(TransientError):
    """Say why the generator did not do its work."""

    code = "bench-generator"


class Generator:
    """Publish `{"t": microseconds, "value": number}` at a rate, from a process of its own."""

    def __init__(self, work: Path) -> None:
        self._program: Path | None = None
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is not None:
            source = files("weftline.testing.bench") / "native" / "mqtt_load.c"
            with as_file(source) as path:
                program = work / "mqtt_load"
                subprocess.run([compiler, "-O2", "-o", str(program), str(path)], check=True, capture_output=True)
            self._program = program
        self.language = "C" if self._program is not None else "Python (no C compiler found)"

    def start(
        self, port: int, *, qos: int, rate: float, seconds: float, lines: int, tags: int, topic: str
    ) -> subprocess.Popen[str]:
        """Start publishing; `topic` holds two %d: the line, which changes with every message, and the tag."""
        command = [str(self._program)] if self._program is not None else [sys.executable, "-m", __name__]
        command += [str(port), str(qos), f"{rate:g}", f"{seconds:g}", str(lines), str(tags), topic]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def result(self, process: subprocess.Popen[str]) -> dict[str, float]:
        """Wait for the end; return sent, acknowledged and seconds."""
        out, _ = process.communicate()
        if process.returncode:
            raise GeneratorError(
                place="mqtt_load", found=f"exit status {process.returncode}", expected="every message sent"
            )
        found: dict[str, float] = json.loads(out)
        return found


def floor_qos1(broker: Mosquitto, generator: Generator, seconds: float, lines: int, tags: int) -> float:
    """Return messages a second that mosquitto_sub takes at QoS 1 while the generator publishes at QoS 1, unthrottled."""
    program = shutil.which("mosquitto_sub")
    if program is None:
        raise GeneratorError(
            place="mosquitto_sub",
            found="no such program",
            expected="it on PATH",
            next_step="apt install mosquitto-clients",
        )
    command = [program, "-p", str(broker.port), "-q", "1", "-t", "floor/#", "-F", "%x", "-i", "floor"]
    taken = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        time.sleep(0.5)  # mosquitto_sub says nothing when it has subscribed
        began = time.perf_counter()
        process = generator.start(
            broker.port, qos=1, rate=0, seconds=seconds, lines=lines, tags=tags, topic="floor/%d/%d"
        )
        counting = _Lines(taken)
        sent = int(generator.result(process)["sent"])
        counting.wait(sent, 120)
        return counting.seen / (time.perf_counter() - began)
    finally:
        taken.terminate()
        taken.wait()


class _Lines:
    """Count the lines a process writes, from a thread, so that its pipe never fills."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.seen = 0
        self._process = process
        self._more = threading.Condition()
        threading.Thread(target=self._read, name="bench-lines", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while block := self._process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            with self._more:
                self.seen += block.count(b"\n")
                self._more.notify_all()

    def wait(self, lines: int, seconds: float) -> None:
        """Return once so many lines were written, or raise GeneratorError."""
        with self._more:
            if not self._more.wait_for(lambda: self.seen >= lines, seconds):
                found = f"{self.seen:,} of {lines:,} messages"
                raise GeneratorError(place="mosquitto_sub", found=found, expected="every message")


def _main(words: list[str]) -> int:
    """Do in Python what native/mqtt_load.c does; slower, so the rate it reaches is told."""
    import asyncio

    from weftline.protocols.mqtt.client import ClientOptions, MqttClient

    port, qos, rate, seconds = int(words[0]), int(words[1]), float(words[2]), float(words[3])
    lines, topics, topic = int(words[4]), int(words[4]) * int(words[5]), words[6]

    async def publish() -> dict[str, float]:
        client = MqttClient(ClientOptions("127.0.0.1", port, f"load-{time.time_ns()}"), lambda _messages: None)
        await client.connect()
        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - began) < seconds:
            due = int(now * rate) + 1 if rate else sent + 64
            for number in range(sent, min(due, sent + 256)):
                payload = b'{"t":%d,"value":%d.5}' % (time.time_ns() // 1000, 20 + number % 60)
                await client.publish(topic % (number % topics % lines, number % topics // lines), payload, qos=qos)
                sent += 1
            await asyncio.sleep(0.001)
        await client.stop()
        return {"sent": sent, "acknowledged": sent if qos else 0, "seconds": round(time.perf_counter() - began, 3)}

    sys.stdout.write(json.dumps(asyncio.run(publish())) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
