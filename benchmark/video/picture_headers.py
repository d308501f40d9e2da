"""What key frames of a video file say about the size of the pictures; where they say it again, it may change."""

from __future__ import annotations

from typing import Any

_SEQUENCE_HEADERS = {"h264": (0x1F, 0, 7), "hevc": (0x3F, 1, 33)}  # of a unit's first byte: mask, shift, type
_LENGTH_BYTES_AT = {"h264": 4, "hevc": 21}  # in the configuration record of MP4 and Matroska (ISO 14496-15)


def picture_header(codec: str, extradata: bytes, packet: Any) -> bytes | None:
    """What a packet says about the form of the pictures from here on, to be compared; None where it says nothing.

    Args:
        codec: "h264", "hevc" or "vp9"; others say nothing that is known here.
        extradata: the codec's head in the container.
        packet: PyAV's, of a key frame.
    """
    if packet.has_sidedata("new_extradata"):
        return bytes(packet.get_sidedata("new_extradata"))
    if codec in _SEQUENCE_HEADERS:
        mask, shift, wanted = _SEQUENCE_HEADERS[codec]
        at = _LENGTH_BYTES_AT[codec]
        found = [
            unit
            for unit in _units(bytes(packet), (extradata[at] & 3) + 1 if len(extradata) > at else 4)
            if unit and unit[0] >> shift & mask == wanted
        ]
        return b"".join(found) or None
    if codec == "vp9":  # profile 0: a byte of flags, three that mark a key frame, colours and size in 36 bits
        head = bytes(packet)[:9]
        return head[4:8] + bytes([head[8] & 0xF0]) if head[1:4] == b"\x49\x83\x42" and len(head) == 9 else None
    return None


def _units(data: bytes, length_bytes: int) -> list[bytes]:
    """The NAL units of a packet, each behind its length; what is damaged ends the list."""
    units, place = [], 0
    while place + length_bytes <= len(data):
        begin = place + length_bytes
        place = begin + int.from_bytes(data[place:begin], "big")
        units.append(data[begin:place])
    return units
