"""The headers of the Lua scripts agree with their bodies and their calls."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import rampd_server.storage
from rampd_server.storage.keys import ComponentKeys, Keys, OutcomeKeys
from rampd_server.storage.scripts import Code, Script, script

FOLDER = Path(rampd_server.storage.__file__).parent / "lua"
PRELUDE = "prelude"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua") if path.stem != PRELUDE)
COMMENT = re.compile(r"^--.*$", re.MULTILINE)
TYPES = {"hash", "list", "zset", "stream", "string"}


def parts(name: str) -> tuple[str, str]:
    """Returns the comment at the top, and the code."""
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").split("\n")
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:end]), COMMENT.sub("", "\n".join(lines[end:]))


@pytest.mark.parametrize("name", NAMES)
def test_a_header_has_its_parts_in_their_order(name: str):
    header, _ = parts(name)

    found = re.findall(r"^-- (Purpose|KEYS|ARGV|Returns|Why atomic)\b", header, re.MULTILINE)
    assert list(dict.fromkeys(found)) == [
        part
        for part in ("Purpose", "KEYS", "ARGV", "Returns", "Why atomic")
        if part != "ARGV" or "ARGV" in (FOLDER / f"{name}.lua").read_text("utf-8")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_body_uses_each_name_of_its_header_and_no_index(name: str):
    header, body = parts(name)

    names = {*script(name).keys, *script(name).arguments, *filter(None, [script(name).rest])}
    assert len(names) == len(re.findall(r"^-- (?:KEYS|ARGV)\[", header, re.MULTILINE))
    assert names <= set(re.findall(r"\w+", body))
    assert not re.search(r"\b(?:KEYS|ARGV)\b", body)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_that_remembers_a_request_can_run_dry(name: str):
    assert ("request" in script(name).keys) == ("dry_run" in script(name).arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_gives_each_key_its_name_and_its_type(name: str):
    header, body = parts(name)
    names = {field.replace("_", "-") for field in (*ComponentKeys._fields, *OutcomeKeys._fields, *vars(Keys()))} | {
        "request"
    }

    for key, kind in re.findall(r"^-- KEYS\[\d+\] +(\S+) +(\S+)$", header, re.MULTILINE):
        assert key in names
        assert kind in TYPES
        local = key.replace("-", "_")
        checks = re.search(r"refuse_types\((.*?)\n?\)", body, re.DOTALL)
        assert checks
        checked = re.findall(rf"\b{local}, '(\w+)'", checks[1])
        assert set(checked) <= {kind}


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_the_codes_that_the_body_returns(name: str):
    header, body = parts(name)

    returns = header.partition("Returns:")[2].partition("Why atomic")[0]
    assert set(re.findall(r"\{([A-Z_]+)", returns)) == codes_of(body)


def codes_of(body: str) -> set[str]:
    """The codes that a script may return, also from functions of the prelude."""
    prelude = COMMENT.sub("", (FOLDER / "prelude.lua").read_text("utf-8"))
    functions = dict(re.findall(r"^local function (\w+)\([^\n]*\n(.*?)^end$", prelude, re.MULTILINE | re.DOTALL))
    found: set[str] = set()
    for first in re.findall(r"(?:\breturn|=) \{([^,}]*)", body):
        found |= set(Code.__members__) & set(re.findall(r"\w+", first))
    for name, inner in functions.items():
        if re.search(rf"\b{name}\(", body):
            found |= codes_of(inner)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_script_builds_no_key_and_makes_no_global(name: str):
    _, body = parts(name)

    assert "rampd:" not in body
    assert not re.findall(r"^(?:function|[a-z_]+ *=[^=])", body, re.MULTILINE)
    assert "cjson.encode" not in script(name).text


def test_every_script_is_called():
    called = {
        name
        for path in FOLDER.parent.glob("*.py")
        for name in re.findall(r'\b(?:run|run_many|script|_?commit|_?write)\(\s*"(\w+)"', path.read_text("utf-8"))
    }

    assert sorted(called) == NAMES


HEAD = """\
-- KEYS[1]  meta        hash
-- KEYS[2]  feed-bytes  string
--
-- ARGV[1]   epoch  the one believed in
-- ARGV[2..] event  all that follows
return {meta, feed_bytes, epoch, event}
"""


def test_a_call_has_the_order_of_the_header():
    example = Script("example", HEAD)
    own = SimpleNamespace(meta="other")

    assert example.given(None, Keys("a"), {"event": ("x", "y"), "epoch": "e"}) == [
        *(2, "rampd:{a}:meta", "rampd:{a}:feed-bytes"),
        *("e", "x", "y"),
    ]
    assert example.given(own, Keys("a"), {"epoch": "e", "event": ()})[1] == "other"
    assert example.text.endswith(
        "local meta, feed_bytes = unpack(KEYS)\n"
        "local epoch = unpack(ARGV, 1, 1)\n"
        f"local event = {{unpack(ARGV, 2)}}\n{HEAD}"
    )


@pytest.mark.parametrize(
    ("head", "named", "message"),
    [
        (HEAD, {"epoch": "e"}, r"example\.lua is called without 'event'"),
        (HEAD, {"event": ()}, r"example\.lua is called without 'epoch'"),
        (HEAD.replace("meta", "request"), {"epoch": "e", "event": ()}, r"example\.lua is called without 'request'"),
        (HEAD, {"epoch": "e", "event": (), "nonce": "n"}, r"example\.lua has no nonce"),
    ],
)
def test_a_missing_or_unknown_name_in_a_call_is_an_error(head: str, named: dict[str, object], message: str):
    with pytest.raises(TypeError, match=message):
        Script("example", head).given(None, Keys(), named)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ARGV[1]   epoch", "ARGV[1]   meta"),
        ("KEYS[2]  feed-bytes", "KEYS[2]  meta"),
        ("KEYS[2]  feed-bytes", "KEYS[3]  feed-bytes"),
        ("ARGV[1]   epoch", "ARGV[1..] epoch"),
    ],
)
def test_a_header_with_a_repeated_name_or_wrong_numbers_is_an_error(before: str, after: str):
    assert before in HEAD
    with pytest.raises(ValueError, match=r"example\.lua: .*(?:twice|out of turn)"):
        Script("example", HEAD.replace(before, after))
