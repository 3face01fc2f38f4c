"""Reading a request's document, and making answers of documents."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ...runtime.untrusted import DocumentT, decode_document
from .documents import ErrorDocument, Failure
from .failures import STATUS, Refusal

# A graph of 64 KiB whose every character is escaped (\u0041), and room for the rest.
MAX_BODY_BYTES = 512 << 10
# For half a megabyte by a slow radio link.
_BODY_S = 30.0


async def read_document(request: Request, kind: type[DocumentT]) -> DocumentT:
    """The ``kind`` that the body is.

    Raises:
        Refusal: it is no JSON by its type or its content, too large, too slow, or not of that kind.
        ClientDisconnect: the client left.
    """
    # Another site's form can send anything but this type without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal("unsupported_media_type", "send JSON, with Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "send the JSON as it is, without Content-Encoding")
    body = await _read_body(request)
    try:
        return decode_document(body, kind, MAX_BODY_BYTES)
    except ValueError as error:
        raise Refusal("bad_request", f"the body is not as docs/schema has it: {error}") from None


def document_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``document`` as JSON."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")


def failure_response(failure: Failure, headers: Mapping[str, str] | None = None) -> Response:
    """``failure`` with its status."""
    return document_response(ErrorDocument(failure), STATUS[failure.code], headers)


async def _read_body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise Refusal("slow_body", f"the body did not come within {_BODY_S:g} s") from None
    return bytes(body)


def _too_large() -> Refusal:
    return Refusal("too_large", f"a body may have {MAX_BODY_BYTES:,} bytes")
