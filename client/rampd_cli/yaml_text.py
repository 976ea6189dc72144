"""Values as YAML whose texts can't move the cursor of a terminal, or turn the direction of reading."""

from typing import Any


def yaml_text(data: Any, *, is_file: bool = False) -> str:
    """Returns a document. With `is_file` it is for a person to edit: lists are indented, and a text is one line."""
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
    return one_line(yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=width), keep="\n")
