"""Values as YAML whose texts can't move the cursor of a terminal, or turn the direction of reading."""

import sys
from typing import Any

from rampd_cli.streams import is_utf8


def yaml_text(data: Any, *, is_file: bool = False) -> str:
    """Returns a document. With `is_file` it is for a person to edit: lists are indented, and a text is one line. YAML is read as UTF-8,
    so if stdout has another encoding, the document is ASCII.
    """
    import yaml  # noqa: PLC0415 - few commands write YAML

    from rampd._contract.wording import one_line  # noqa: PLC0415 - it is slow to import

    kept = "" if is_file else "\n"

    class Dumper(yaml.SafeDumper):
        """Quotes a text whose characters have to be escaped: only quoted texts know escapes."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, indentless and not is_file)

        def represent_str(self, data: str) -> yaml.ScalarNode:
            style = None if one_line(data, keep=kept) == data else '"'
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, Dumper.represent_str)
    width = 1_000_000 if is_file else None
    is_unicode = is_utf8(sys.stdout)
    return one_line(yaml.dump(data, Dumper=Dumper, allow_unicode=is_unicode, sort_keys=False, width=width), keep="\n")
