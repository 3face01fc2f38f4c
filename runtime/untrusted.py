"""Reading JSON documents that may be anything."""

from __future__ import annotations

from typing import TypeVar

import msgspec

DocumentT = TypeVar("DocumentT", bound=msgspec.Struct)


def decode_document(data: bytes, kind: type[DocumentT], most: int) -> DocumentT:
    """The ``kind`` in ``data`` (UTF-8 JSON), of at most ``most`` bytes.

    Raises:
        ValueError: too long, not JSON, or a field is missing, unknown, of the wrong type or out of range. The message
            says which (``$.product.size``).
    """
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
