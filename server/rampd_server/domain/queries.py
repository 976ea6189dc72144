"""What stands in braces in the query of a check, replaced by what it stands for."""

import re

PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}")
PLACEHOLDERS = frozenset({"component", "tag", "channel"})


def fill(query: str, *, component: str, tag: str, channel: str) -> str:
    """The query with every placeholder as a label's value, in quotes: `{tag={{tag}}}` becomes `{tag="20200409"}`.

    Placeholders that a person has put in quotes already are filled without adding quotes of their own.
    """
    values = {"component": component, "tag": tag, "channel": channel}

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[2])
        if value is None:
            return match[0]
        quote = "'" if match[1] == "'" else '"'  # in backticks nothing could be escaped
        escaped = value.replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\n", "\\n")
        return f"{quote}{escaped}{quote}"

    return re.sub(r"""(["'`]?)\{\{\s*(.*?)\s*\}\}\1""", value_of, query)
