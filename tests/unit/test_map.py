"""docs/architecture.md shows the tree as it is: every module has its line, and a file that a document names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()

GENERATED = "_pb2"
"""What `make gen` writes: the line of the folder stands for all of it."""


def section(title: str) -> str:
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def paths_of(tree: str) -> list[str]:
    """Returns the paths of a tree that is drawn by indentation. A folder ends with `/`."""
    paths, folders = [], {-1: ""}
    for line in tree.splitlines():
        if drawn := re.fullmatch(r"( *)(\S+) {2,}\S.*", line):
            depth = len(drawn[1])
            path = folders[max(above for above in folders if above < depth)] + drawn[2]
            folders = {above: folder for above, folder in folders.items() if above < depth} | {depth: path}
            paths.append(path)
    return paths


def modules() -> list[str]:
    """Returns the modules that the map must show. The line of a folder also covers its `__init__.py` and generated files."""
    found = {
        f"proto/{name}"
        for name in ("baseline.binpb", "rampd/v1/bucketing_vectors.json", "rampd/v1/decision_vectors.json")
    }
    found |= {"tests/", "examples/", *(f"examples/{path.name}/" for path in (ROOT / "examples").iterdir())}
    for place, kind in [("client", "*.py"), ("server", "*.py"), ("server", "*.lua"), ("proto", "*.proto")]:
        for path in (ROOT / place).rglob(kind):
            folder = path.parent.relative_to(ROOT)
            found.add(f"{folder}/")
            if GENERATED not in path.name and path.name != "__init__.py":
                found.add(f"{folder}/{path.name}")
    return sorted(found | {f"tests/{path.parent.name}/" for path in (ROOT / "tests").glob("*/*.py")})


def line_for(path: str) -> str:
    """Returns the line to add to the map, as far as the file itself gives it."""
    file = ROOT / path / "__init__.py" if path.endswith("/") else ROOT / path
    text = ""
    if file.suffix == ".py" and file.exists():
        text = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
    return f"{path}  {text}"


def test_the_map_has_a_line_for_each_module_and_for_nothing_else() -> None:
    drawn, there = paths_of(section("The map")), modules()
    missing = [f"add     {line_for(path)}" for path in there if path not in drawn]
    gone = [f"remove  {path}" for path in drawn if path not in there]
    twice = [f"twice   {path}" for path in sorted(set(drawn)) if drawn.count(path) > 1]
    assert not (changes := [*missing, *gone, *twice]), "\n".join(["in docs/architecture.md, The map:", *changes])


def test_a_tree_is_read_by_its_indentation() -> None:
    tree = "a/   one\n    b/  two\n        c.py   three\n    d.py  four\n\ne/f/  five\n    g.py  six\n```text\nwords"
    assert paths_of(tree) == ["a/", "a/b/", "a/b/c.py", "a/d.py", "e/f/", "e/f/g.py"]


def test_reading_begins_with_five_files() -> None:
    assert len(re.findall(r"^[1-5]\. `", section("Where to start reading"), re.MULTILINE)) == 5


@pytest.mark.parametrize("title", ["From Release to a launcher", "From a failure to a rollback"])
def test_each_station_of_a_picture_names_its_file(title: str) -> None:
    stations = re.findall(r'^ +\w+\["(.*?)"\]$', section(title), re.MULTILINE)
    assert len(stations) >= 8
    assert [station for station in stations if not re.match(r"[\w/]+\.(py|lua)<br/>", station)] == []


NAMED = re.compile(r"(?<![\w./-])(?:[\w-]+/)*\w+\.(?:py|lua|proto)\b")
OTHERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def names() -> set[str]:
    """Returns the files that documents name. Outside of the architecture, a name without a folder may be a reader's own file."""
    everywhere = {name for path in OTHERS for name in NAMED.findall(path.read_text()) if "/" in name}
    return everywhere | set(NAMED.findall(DOCUMENT.replace(section("The map"), "")))


@pytest.mark.parametrize("name", sorted(names()))
def test_each_file_that_a_document_names_exists_exactly_once(name: str) -> None:
    files = [path for root in ("client", "server", "proto", "tests") for path in (ROOT / root).rglob(Path(name).name)]
    found = [str(path.relative_to(ROOT)) for path in files if f"/{path.relative_to(ROOT)}".endswith(f"/{name}")]
    assert len(found) == 1, found or "this file does not exist: correct the document"
