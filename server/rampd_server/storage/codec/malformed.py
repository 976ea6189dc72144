class MalformedError(Exception):
    """Raised when data does not have the form that rampd writes. The caller knows the key or the feed entry."""

    def __init__(self, section: str, field: str, problem: str) -> None:
        super().__init__(f"{section}, field {field!r}: {problem}" if field else f"{section}: {problem}")
        self.section = section
        self.field = field
        self.problem = problem
