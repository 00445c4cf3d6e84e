"""Break a running fabric on purpose, and judge afterwards whether it lost or doubled anything.

`FabricProcess` runs `weftline up` in a child that may be killed; `senders` publish over MQTT, HTTP and files and know
which identities they were acknowledged for; `judge` compares those with what the fabric holds; `rounds` names the
seeded rounds that the fault tests run.
"""

from __future__ import annotations

from weftline.testing.faults.judge import Verdict, judge
from weftline.testing.faults.process import FabricProcess
from weftline.testing.faults.rounds import ROUNDS, play
from weftline.testing.faults.senders import Sent

__all__ = ["ROUNDS", "FabricProcess", "Sent", "Verdict", "judge", "play"]
