"""Who may ask the studio for what: this machine's own pages, and elsewhere those who know the token.

A page of another site can send requests to 127.0.0.1 from a visitor's browser.  So a request must name this host (a
name that was bound to 127.0.0.1 later does not), one that changes something must come from the studio's own page
(`Origin`, and a header that no form can send), and what another site's page embeds is refused (`Sec-Fetch-Site`).
"""

from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE, HEADER = "ganvas_token", "x-ganvas-studio"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BODY, MAX_UPLOAD = 2**20, 100 * 2**20
"""bytes of what a page sends, and of a file"""
UPLOAD_PATHS = ("/uploads", "/explore/")
"""where files are sent to"""
SELF_CONTAINED = "/lecture"
"""where pages are of one file each, with their scripts and styles inside"""
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
INLINE_POLICY = POLICY + "; script-src 'self' 'unsafe-inline'; font-src 'self' data:; connect-src 'self'"
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
}  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware around the studio."""

    def __init__(self, app: ASGIApp, host: str, token: str, self_contained: str = SELF_CONTAINED) -> None:
        self.app: ASGIApp = app
        self.token: str = token
        self.self_contained: str = self_contained
        self.is_local: bool = is_loopback(host)
        self.names: tuple[str, ...] = (*LOCAL_NAMES, host.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there are no web sockets
        headers = Headers(scope=scope)
        policy = INLINE_POLICY if scope["path"].startswith(self.self_contained) else POLICY

        body = BoundedBody(receive, limit := body_limit(scope["path"]))

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in {**SECURITY_HEADERS, "content-security-policy": policy}.items():
                    added.setdefault(name, value)
            await send(message)

        async def send_answer(message: Message) -> None:
            if not body.is_cut_off:
                await send_guarded(message)
            elif message["type"] == "http.response.start":  # whatever the application made of what it got
                await too_large(limit)(scope, receive, send_guarded)

        response = self.refuse(scope, headers) or self.ask_token(scope, headers)
        if response is not None:
            await response(scope, receive, send_guarded)
            return
        await self.app(scope, body.receive, send_answer)

    def refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request is not answered, by where it comes from and how large it is; None where it is."""
        host = headers.get("host", "")
        if self.is_local and host_name(host) not in self.names:
            return refusal(403, f"the studio is asked as {host or 'nothing'}: open it as {self.names[-1]}")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return refusal(403, "another site's page asks: open the studio itself")
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
                return refusal(403, "another site's page asks: open the studio itself")
            if HEADER not in headers:
                return refusal(403, f"the request has no header {HEADER}: use the studio's own pages")
        length, limit = headers.get("content-length", "0"), body_limit(scope["path"])
        if not length.isdecimal() or int(length) > limit:
            return too_large(limit)
        return None

    def ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Nothing where the token is known; where it is in the address, the page anew, with a cookie in its place."""
        if not self.token:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if is_same(query.pop("token", [""])[0], self.token):
            address = scope["path"] + (f"?{urlencode(query, doseq=True)}" if query else "")
            response = RedirectResponse("/" + address.lstrip("/"), 303)
            response.set_cookie(cookie_name(headers), self.token, httponly=True, samesite="strict")
            return response
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(headers))
        except CookieError:
            cookie = None
        if cookie is not None and is_same(cookie.value, self.token):
            return None
        return refusal(401, "this studio asks for its token: open the address that `ganvas studio` printed")


def cookie_name(headers: Headers) -> str:
    """The cookie of the port that a browser asks: browsers send cookies to all ports of a host."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"{COOKIE}_{port}" if port.isascii() and port.isdecimal() else COOKIE


def host_name(host: str) -> str:
    """A Host header in small letters, without its port, and without the brackets of an IPv6 address."""
    return (host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]).lower()


def is_same(given: str, token: str) -> bool:
    """Whether a token is the right one, in a time that does not depend on where they differ."""
    return compare_digest(given.encode(), token.encode())


def body_limit(path: str) -> int:
    """The most bytes that may be sent to a path."""
    return MAX_UPLOAD if path.startswith(UPLOAD_PATHS) else MAX_BODY


class BoundedBody:
    """Receives a body no larger than the limit, whatever its headers say of its size; a larger one is cut off."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive_more: Receive = receive
        self.left: int = limit
        self.is_cut_off: bool = False

    async def receive(self) -> Message:
        message = await self.receive_more()
        self.left -= len(message.get("body", b""))
        self.is_cut_off = self.is_cut_off or self.left < 0
        return {"type": "http.disconnect"} if self.is_cut_off else message


def refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def too_large(limit: int) -> Response:
    advice = "name the path of a file on this machine in place of sending it"
    return refusal(413, f"what was sent is larger than {limit // 2**20} MB: {advice}")
