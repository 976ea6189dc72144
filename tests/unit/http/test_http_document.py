"""docs/http.md says what the code does."""

import re
from pathlib import Path

from google.rpc import code_pb2

from rampd_server.http.errors import STATUS_OF

DOCUMENT = (Path(__file__).parents[3] / "docs/http.md").read_text()


def test_the_table_of_errors_has_the_status_of_each_code() -> None:
    [table] = re.findall(r"^\| code \| status \|\n\|.*\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE)
    for codes, status in re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE):
        for code in codes.split(", "):
            # The content type of a request decides before its code: it is UNKNOWN only then.
            expected = 415 if code == "unknown" else STATUS_OF[code_pb2.Code.Value(code.upper())]
            assert re.match(r"\d+", status).group() == str(int(expected)), code  # type: ignore[union-attr]
    assert "unknown | 415" in table
    assert re.search(r"^\| unimplemented \| 501; 404 .*405", table, re.MULTILINE)
