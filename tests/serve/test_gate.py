"""Who may ask: this machine's own pages and programs, or whoever has the token."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from cutaway.serve import Access
from cutaway.serve.gate import is_loopback

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:8000", "LOCALHOST."]
)
def test_local_hosts(live: Any, host: str) -> None:
    with live.client() as http:
        assert http.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "["]
)
def test_rebound_hosts(live: Any, host: str) -> None:
    with live.client() as http:
        for path in ("/v1/models", "/", "/health"):
            response = http.get(path, headers={"Host": host})
            assert response.status_code == 403
            assert response.json()["error"]["code"] == "wrong_host"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "http://localhost", "x"])
def test_other_origins(live: Any, origin: str) -> None:
    with live.client() as http:
        response = http.get("/v1/models", headers={"Origin": origin})
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "wrong_origin"
        assert http.get("/v1/models", headers={"Origin": live.url}).status_code == 200
        assert http.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_no_host_at_all(live: Any) -> None:
    address = live.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=5) as raw:
        raw.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 403 " in raw.recv(4096).split(b"\r\n")[0]


def test_token(serve_live: Any) -> None:
    live = serve_live(access=Access(token=TOKEN))
    with live.client() as http:
        for path in ("/v1/models", "/api/models", "/report", "/openapi.json"):
            refused = http.get(path)
            assert refused.status_code == 401
            assert refused.json()["error"]["type"] == "authentication_error"
            assert http.get(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
            assert http.get(path, headers={"Authorization": TOKEN}).status_code == 401
            assert http.get(path, headers={"Authorization": b"Bearer \xff"}).status_code == 401
        assert http.get("/health").status_code == 200
        assert http.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_session_cookie(serve_live: Any) -> None:
    live = serve_live(access=Access(token=TOKEN))
    with live.client() as http:
        assert http.post("/api/session").status_code == 401
        given = http.post("/api/session", headers={"Authorization": f"Bearer {TOKEN}"})
        cookie = given.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert http.get("/api/models").status_code == 200
        http.cookies.clear()
        assert http.get("/api/models", headers={"Cookie": "cutaway_session=x"}).status_code == 401
        assert http.get("/api/models", headers={"Cookie": "\x01;;=,cutaway_session"}).status_code == 401


def test_any_host_when_others_are_let_in(serve_live: Any) -> None:
    live = serve_live(access=Access(token=TOKEN, local_only=False))
    with live.client() as http:
        headers = {"Host": "box.lan:8000", "Authorization": f"Bearer {TOKEN}"}
        assert http.get("/v1/models", headers=headers).status_code == 200
        assert http.get("/v1/models", headers={**headers, "Origin": "http://evil.example"}).status_code == 403


def test_headers(live: Any) -> None:
    with live.client() as http:
        for path in ("/", "/v1/models", "/absent"):
            headers = http.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "access-control-allow-origin" not in headers
        (live.run / "report.html").write_text("<script>alert(1)</script><p>Report</p>")
        report = http.get("/report")
        assert report.text.endswith("<p>Report</p>")
        assert "sandbox" in report.headers["content-security-policy"]
        assert "script-src" not in report.headers["content-security-policy"]


def test_is_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "::1", "[::1]", "localhost", "Localhost."]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.0.1", "example.org", "", "localhost.example.org"]))
