"""What every request passes: the name it asked for, its token, and what every answer carries."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edgeseg.web.address import Address

__all__ = ["guard", "seal"]

logger = logging.getLogger(__name__)

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def guard(address: Address) -> Middleware:
    """A middleware that answers only who asks by the right name, with the token, and sends nothing along."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not address.serves(hosts[0]):
            raise web.HTTPForbidden(text="The page is not served under this name.\n")
        if not address.admits(_token_of(request)):
            raise web.HTTPUnauthorized(
                text="Add ?token=... to the address, or send the header 'Authorization: Bearer ...'.\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if request.can_read_body:
            raise web.HTTPRequestEntityTooLarge(0, 0, text="Nothing can be sent here.\n")
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            logger.exception("%s could not be answered.", request.path)
            raise web.HTTPInternalServerError(text="This went wrong; the log of edgeseg says why.\n") from None

    return check


async def seal(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Give an answer the headers that keep browsers from sharing or keeping it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "edgeseg"


def _token_of(request: web.Request) -> str:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else request.query.get("token", "")
