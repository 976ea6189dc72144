"""The files of the page, which a browser keeps."""

import re
from importlib import resources

import httpx
import pytest
from starlette.applications import Starlette

from rampd_server.page import static

NAMES = sorted(file.name for file in resources.files("rampd_server.page").joinpath("static").iterdir())


def client() -> httpx.AsyncClient:
    application = Starlette(routes=static.routes())
    application.router.redirect_slashes = False
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost")


@pytest.mark.parametrize("name", NAMES)
async def test_each_file_has_its_kind_and_is_kept(name: str) -> None:
    async with client() as http:
        answer = await http.get(static.address(name))
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kinds[name.rpartition(".")[2]]
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.content == resources.files("rampd_server.page").joinpath("static", name).read_bytes()


async def test_a_page_of_a_server_of_another_version_gets_files_that_nobody_keeps() -> None:
    async with client() as http:
        answer = await http.get("/static/0123456789abcdef/style.css")
    assert answer.status_code == 200
    assert "cache-control" not in answer.headers


@pytest.mark.parametrize("path", ["none.js", "__init__.py", "../routes.py", "%2e%2e/routes.py", "style.css/", ""])
async def test_there_are_no_other_files(path: str) -> None:
    async with client() as http:
        assert (await http.get(f"/static/0123456789abcdef/{path}")).status_code == 404


def test_a_file_that_there_is_not_has_no_address() -> None:
    with pytest.raises(KeyError):
        static.address("none.js")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith((".css", ".js"))])
def test_no_file_asks_for_anything_from_elsewhere(name: str) -> None:
    text = resources.files("rampd_server.page").joinpath("static", name).read_text()
    assert re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)) == []
    assert re.findall(r"\b(?:eval|Function)\(|new Function|document\.write|setTimeout\([\"'`]", text) == []
