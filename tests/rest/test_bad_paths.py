"""Paths, queries and methods that are not valid: a clear answer for each."""

from __future__ import annotations

from yarl import URL

from tests.rest.rest_service import TOKEN, Service

PATHS = [
    ("GET", "/operator/session/{}", "session_not_found"),
    ("DELETE", "/operator/session/{}", "session_not_found"),
    ("GET", "/operator/session/{}/export", "session_not_found"),
    ("GET", "/operator/session/{}/events", "session_not_found"),
    ("GET", "/operator/reply/{}", "reply_not_found"),
    ("POST", "/operator/reply/{}/cancel", "reply_not_found"),
]


NO_IDS = ["a%2Fb", "x" * 500, "a%20b", "%00", "%ff", "a%0A", "%F0%9F%98%80", "{x}", "'--", "..%2F"]


NO_ROWS = ["0", "-1", "1.5", "1e3", "01", "9" * 19, "9223372036854775808", "abc", "%D9%A3"]


async def test_an_id_of_the_wrong_form_names_nothing(service: Service) -> None:
    token = {"X-VX11-Token": TOKEN}
    for method, path, error in PATHS:
        for wrong in NO_IDS + (NO_ROWS if "reply" in path else ["nobody", "0"]):
            url = URL(service.url + path.format(wrong), encoded=True)
            async with service.session.request(method, url, headers=token) as response:
                shown = await response.json()
            assert (response.status, shown["error"]) == (404, error), (path, wrong)


QUERIES = [
    ("/operator/session/s?limit=0", "limit"),
    ("/operator/session/s?limit=1001", "limit"),
    ("/operator/session/s?limit=-1", "limit"),
    ("/operator/session/s?limit=ten", "limit"),
    ("/operator/session/s?limit=", "limit"),
    ("/operator/session/s?limit=1.5", "limit"),
    ("/operator/session/s?limit=9999999999999999999999", "limit"),
    ("/operator/session/s?before=0", "before"),
    ("/operator/session/s?before=x", "before"),
    ("/operator/session/s?before=9223372036854775808", "before"),
    ("/operator/sessions?limit=201", "limit"),
    ("/operator/sessions?cursor=nonsense", "cursor"),
    ("/operator/sessions?cursor=" + "A" * 300, "cursor"),
    ("/operator/sessions?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OS8x", "cursor"),  # the year 0
    ("/operator/sessions?user_id=", "user_id"),
    ("/operator/sessions?user_id=a%00b", "user_id"),
    ("/operator/sessions?q=a%00b", "q"),
    ("/operator/sessions?q=" + "x" * 501, "q"),
    ("/operator/session/s/events?after=-1", "after"),
    ("/operator/session/s/events?limit=0", "limit"),
]


async def test_a_wrong_parameter_of_a_get_is_400(service: Service) -> None:
    await service.chat(session_id="s")
    for query, field in QUERIES:
        response = await service.get(query)
        shown = await response.json()
        assert (response.status, shown["error"]) == (400, "invalid_parameter"), query
        assert field in shown["detail"]


async def test_a_wrong_method_is_405_with_the_right_ones(service: Service) -> None:
    for method, path, allow in (
        ("GET", "/operator/chat", "OPTIONS, POST"),
        ("PUT", "/operator/session/x", "DELETE, GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("TRACE", "/operator/sessions", "GET, HEAD, OPTIONS"),
    ):
        response = await service.call(method, path)
        assert (response.status, (await response.json())["error"]) == (405, "method_not_allowed")
        assert response.headers["Allow"] == allow


async def test_an_unknown_path_is_404(service: Service) -> None:
    for path in ("/", "/operator", "/operator/chat/", "/operator/session/", "/OPERATOR/CHAT",
                 "/operator/session/a/b", "/favicon.ico", "//health"):  # fmt: skip
        response = await service.get(path)
        assert (response.status, (await response.json())["error"]) == (404, "not_found"), path
