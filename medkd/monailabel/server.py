"""What the running server does before it asks the app: which pages may call it, and what a request may say."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from monailabel.utils.async_tasks.task import AsyncTask
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

__all__ = ["SameSite", "guard_server"]

_OFF = {"false", "0", "no", "off", "f", "n"}
_LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def guard_server(check: Any, origins: str) -> None:
    """Guard the server in whose process this runs; MONAI Label has no other place for it.

    Args:
        check: refuses what a request may not say; called with the name of a task and the request.
        origins: known ones with commas. (With its own setting for them, MONAI_LABEL_CORS_ORIGINS, MONAI Label 0.8.5 does not
            start.)
    """
    from monailabel.app import app  # which exists in a server alone

    allowed = [origin.strip().rstrip("/") for origin in origins.split(",") if origin.strip()]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_origin_regex=_LOOPBACK,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    app.user_middleware = [Middleware(SameSite, origins=allowed), cors]  # in place of "every origin"
    app.middleware_stack = app.build_middleware_stack()
    AsyncTask.run = staticmethod(_checked(AsyncTask.run, check))


def _checked(run: Any, check: Any) -> Any:
    """Tasks in the background: their requests reach the app in another process, when the client has had its answer."""

    def checked(method: str, request: Any = None, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        check(method, {**(request or {}), **(params or {})})
        return run(method, request, params, *args, **kwargs)

    return checked


class SameSite:
    """Answers to clients that are no browsers, and to pages of this server and of known origins.

    A page of any site can make the reader's browser send a request to 127.0.0.1; its ``Origin`` tells. A site whose name
    leads to 127.0.0.1 (DNS rebinding) is told by ``Host``, which must be an address or a known name.

    Args:
        app: what answers.
        origins: known ones beside loopback's, as ``https://label.hospital.example``.
    """

    def __init__(self, app: Any, origins: list[str]) -> None:
        self.app = app
        self.origins = set(origins)
        self.hosts = {"localhost", *(urlsplit(origin).hostname for origin in origins)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 403 or 400 itself, or let the request pass."""
        status, problem = self._problem(scope) if scope["type"] in {"http", "websocket"} else (0, "")
        await (PlainTextResponse(problem, status) if problem else self.app)(scope, receive, send)

    def _problem(self, scope: Any) -> tuple[int, str]:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._known(_hostname(f"//{host}")):
            return 403, f"Host: expected an address, localhost or a host of --conf origins, found {host}"
        if origin is not None and not self._same_site(origin, host):
            return 403, f"Origin: expected this server or one of --conf origins, found {origin}"
        if ".." in unquote(unquote(scope["path"])).split("/"):  # the proxy of a PACS would leave its part of it
            return 400, f"{scope['path']}: expected a path without .., found one"
        if scope.get("method") in {"PUT", "DELETE"} and "/model/" in scope["path"]:
            return 403, "model: expected `medkd deploy`, which checks weights and keeps those before, found an upload"
        # MONAI Label unpacks an archive wherever its members say: over the students that are served, for example.
        unpacked = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True).get(
            "uncompress", []
        )
        if any(word.lower() not in _OFF for word in unpacked):
            return 403, "uncompress: expected an image, or several files, found an archive to unpack"
        return 200, ""

    def _known(self, host: str | None) -> bool:
        return host is not None and (host in self.hosts or _is_address(host))

    def _same_site(self, origin: str, host: str) -> bool:
        return bool(re.fullmatch(_LOOPBACK, origin)) or origin in self.origins or origin.partition("://")[2] == host


def _hostname(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # what is no address at all
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
