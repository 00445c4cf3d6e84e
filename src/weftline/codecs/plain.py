"""Plain payloads: the whole message is one value, as many MQTT devices send it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import pyarrow as pa

from weftline.batch import Decoded, Frame
from weftline.codecs.base import FileBlock, Limits
from weftline.codecs.lines import BOM
from weftline.codecs.records import Failure, Outcome, Refusal, assemble, columns, place
from weftline.codecs.whole import too_large, whole_file

__all__ = ["PlainCodec", "PlainOptions"]


class PlainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say how a plain payload is read."""

    trim: bool = True
    """Leave out white space and line ends around the value."""


class PlainCodec:
    """Give the payload as the text field `value`; the contract decides whether it is a number."""

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = "the whole message is one value: a number, a word or a truth"
    options: ClassVar[type[msgspec.Struct]] = PlainOptions
    isolated: ClassVar[bool] = False

    def decode(
        self, frames: Sequence[Frame], options: PlainOptions, expected: Mapping[str, pa.DataType], limits: Limits
    ) -> Decoded:
        """Decode frames; an empty payload is no value and is refused."""
        outcome = Outcome(counts=[1] * len(frames))
        values: list[str] = []
        for number, frame in enumerate(frames):
            try:
                values.append(_value(frame, options, limits))
            except Refusal as refusal:
                outcome.failures.append(Failure(number, refusal.code, f"{place(0)}: {refusal.reason}."))
        table = columns({"value": pa.array(values, pa.string())}, len(values), expected)
        return assemble(frames, outcome, table, None)

    def blocks(self, path: Path, options: PlainOptions, start: int, limits: Limits) -> Iterator[FileBlock]:  # noqa: ARG002
        """Give the whole file as one value."""
        return whole_file(path, start, limits)


def _value(frame: Frame, options: PlainOptions, limits: Limits) -> str:
    too_large(frame, limits)
    if len(frame.payload) > limits.record_bytes:
        found = f"found a value of {len(frame.payload)} bytes, expected at most {limits.record_bytes}"
        raise Refusal("limit-record-bytes", found)
    try:
        text = frame.payload.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        raise Refusal("encoding", f"found bytes that are not UTF-8 at byte {error.start + 1}, expected UTF-8") from None
    text = text.strip() if options.trim else text
    if not text:
        raise Refusal("empty", "found no value, expected text, a number or a truth")
    return text
