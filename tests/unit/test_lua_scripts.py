"""Headers of the Lua scripts, held to their bodies."""

import re
from pathlib import Path

import pytest

import rampd_server.storage
from rampd_server.storage.keys import ComponentKeys, Keys, OutcomeKeys
from rampd_server.storage.scripts import Code, Scripts, source

FOLDER = Path(rampd_server.storage.__file__).parent / "lua"
PRELUDE = "prelude"
NAMES = sorted(path.stem for path in FOLDER.glob("*.lua") if path.stem != PRELUDE)
COMMENT = re.compile(r"^--.*$", re.MULTILINE)
TYPES = {"hash", "list", "zset", "stream", "string"}


def parts(name: str) -> tuple[str, str]:
    """The comment at the top, and the code."""
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").split("\n")
    end = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:end]), COMMENT.sub("", "\n".join(lines[end:]))


def declared(header: str, kind: str) -> list[tuple[int, str]]:
    return [
        (int(number), text)
        for number, text in re.findall(rf"^-- {kind}\[(\d+)(?:\.\.)?\] *(.+)$", header, re.MULTILINE)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_header_has_its_parts_in_their_order(name: str):
    header, _ = parts(name)

    found = re.findall(r"^-- (Purpose|KEYS|ARGV|Returns|Why atomic)\b", header, re.MULTILINE)
    assert list(dict.fromkeys(found)) == [
        part
        for part in ("Purpose", "KEYS", "ARGV", "Returns", "Why atomic")
        if part != "ARGV" or "ARGV" in (FOLDER / f"{name}.lua").read_text("utf-8")
    ]


@pytest.mark.parametrize("kind", ["KEYS", "ARGV"])
@pytest.mark.parametrize("name", NAMES)
def test_a_header_lists_what_the_body_uses(name: str, kind: str):
    header, body = parts(name)

    used = {int(number) for number in re.findall(rf"\b{kind}\[(\d+)\]", body)}
    used |= {int(number) for number in re.findall(rf"unpack\({kind}, (\d+)\)", body)}
    listed = [number for number, _ in declared(header, kind)]
    assert listed == list(range(1, len(listed) + 1))
    assert used == set(listed)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_gives_each_key_its_name_and_its_type(name: str):
    header, body = parts(name)
    names = {field.replace("_", "-") for field in (*ComponentKeys.__slots__, *OutcomeKeys.__slots__, *vars(Keys()))} | {
        "request"
    }

    for _, text in declared(header, "KEYS"):
        key, kind = text.split()
        assert key in names
        assert kind in TYPES
        local = key.replace("-", "_")
        checks = re.search(r"find_wrong_type\((.*?)\n?\)", body, re.DOTALL)
        assert checks
        checked = re.findall(rf"\b{local}, '(\w+)'", checks[1])
        assert set(checked) <= {kind}


@pytest.mark.parametrize("name", NAMES)
def test_a_header_names_the_codes_that_the_body_answers(name: str):
    header, body = parts(name)
    prelude = COMMENT.sub("", (FOLDER / "prelude.lua").read_text("utf-8"))

    answered = set(re.findall(r"\breturn \{([A-Z_]+)", body)) | ({"DONE"} if "  DONE," in body else set())
    if "refuse_schema(" in body:
        answered.add("NEWER_SCHEMA")
    if re.search(r"\brefuse(?:_store)?\(", body):
        answered |= set(re.findall(r"\breturn \{([A-Z_]+)", prelude))
    if "refuse(" in body:
        answered |= {"REPLAYED", "REUSED"}
    returns = header.partition("Returns:")[2].partition("Why atomic")[0]
    assert set(re.findall(r"\{([A-Z_]+)", returns)) == answered
    assert answered <= set(Code.__members__)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_builds_no_key_and_makes_no_global(name: str):
    _, body = parts(name)

    assert "rampd:" not in body
    assert not re.findall(r"^(?:function|[a-z_]+ *=[^=])", body, re.MULTILINE)
    assert "cjson.encode" not in source(name)


def test_every_script_is_loaded():
    scripts = {name: script.text for name, script in vars(Scripts(None)).items()}

    assert sorted(scripts) == NAMES
    for name, text in scripts.items():
        assert text == source(name)
        assert text.startswith("local DONE, UNCHANGED")
