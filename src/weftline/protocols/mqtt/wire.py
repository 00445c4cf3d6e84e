"""Read and write the data types of MQTT.

Source: MQTT 5.0 §1.5 (two and four byte integers, UTF-8 strings, variable byte integers, binary data, string pairs);
MQTT 3.1.1 §1.5 and §2.2.3 agree on the ones it has.
"""

from __future__ import annotations

from weftline.protocols.mqtt.errors import MalformedPacketError

MAXIMUM_REMAINING_LENGTH = 268_435_455
MAXIMUM_STRING = 65_535


def malformed(place: str, found: str, expected: str) -> MalformedPacketError:
    """Build the error for bytes that are not MQTT."""
    return MalformedPacketError(
        place=place, found=found, expected=expected, next_step="check what else speaks on this address and its version"
    )


class Cursor:
    """Walk over the body of one packet; every read is bounds-checked and raises `MalformedPacketError`."""

    __slots__ = ("_at", "_data", "_end", "_place")

    def __init__(self, data: bytes, place: str, at: int = 0, end: int | None = None) -> None:
        self._data = data
        self._place = place
        self._at = at
        self._end = len(data) if end is None else end

    @property
    def at(self) -> int:
        """Offset of the next byte to be read."""
        return self._at

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self._at

    def _take(self, size: int, what: str) -> int:
        at = self._at
        if at + size > self._end:
            raise malformed(self._place, f"{self._end - at} bytes left", f"{size} bytes of {what}")
        self._at = at + size
        return at

    def byte(self, what: str) -> int:
        """Read one byte."""
        return self._data[self._take(1, what)]

    def uint16(self, what: str) -> int:
        """Read a two byte integer (§1.5.2)."""
        at = self._take(2, what)
        return int.from_bytes(self._data[at : at + 2], "big")

    def uint32(self, what: str) -> int:
        """Read a four byte integer (§1.5.3)."""
        at = self._take(4, what)
        return int.from_bytes(self._data[at : at + 4], "big")

    def variable(self, what: str) -> int:
        """Read a variable byte integer of at most four bytes, in its shortest form (§1.5.5)."""
        value = shift = 0
        while True:
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise malformed(self._place, f"{what} with a needless byte", "the shortest encoding (§1.5.5)")
                return value
            shift += 7
            if shift > 21:
                raise malformed(self._place, f"{what} longer than four bytes", "at most 268,435,455 (§1.5.5)")

    def binary(self, what: str) -> bytes:
        """Read length-prefixed binary data (§1.5.6)."""
        size = self.uint16(f"the length of {what}")
        at = self._take(size, what)
        return self._data[at : at + size]

    def text(self, what: str) -> str:
        """Read a UTF-8 string; ill-formed UTF-8, surrogates and U+0000 are refused (§1.5.4)."""
        return decode_text(self.binary(what), self._place, what)

    def rest(self) -> bytes:
        """Read all that is left."""
        at, self._at = self._at, self._end
        return self._data[at : self._end]

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._at != self._end:
            raise malformed(self._place, f"{self._end - self._at} bytes after the last field", "the end of the packet")


def decode_text(data: bytes, place: str, what: str) -> str:
    """Decode a UTF-8 string as §1.5.4 demands."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(
            place, f"{what} with byte 0x{data[error.start]:02x} at {error.start}", "UTF-8 (§1.5.4)"
        ) from error
    if "\0" in text:
        raise malformed(place, f"{what} with U+0000", "a string without U+0000 (§1.5.4)")
    return text


def encode_text(text: str, what: str) -> bytes:
    """Encode a UTF-8 string with its length; refuse U+0000, lone surrogates and more than 65,535 bytes."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise malformed(what, f"a lone surrogate at {error.start}", "text that UTF-8 can carry (§1.5.4)") from error
    if b"\0" in data:
        raise malformed(what, "U+0000", "a string without U+0000 (§1.5.4)")
    return encode_binary(data, what)


def encode_binary(data: bytes, what: str) -> bytes:
    """Encode binary data with its two byte length."""
    if len(data) > MAXIMUM_STRING:
        raise malformed(what, f"{len(data)} bytes", f"at most {MAXIMUM_STRING} bytes (§1.5.6)")
    return len(data).to_bytes(2, "big") + data


def encode_variable(value: int) -> bytes:
    """Encode a variable byte integer in its shortest form (§1.5.5)."""
    if value < 128:
        return value.to_bytes(1, "big")
    if value > MAXIMUM_REMAINING_LENGTH:
        raise malformed("variable byte integer", str(value), f"at most {MAXIMUM_REMAINING_LENGTH} (§1.5.5)")
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
