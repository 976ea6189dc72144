class MalformedError(Exception):
    """Raised when data is not what rampd writes. The caller knows in which key or feed entry it stands."""

    def __init__(self, section: str, field: str, problem: str) -> None:
        super().__init__(f"{section}, field {field!r}: {problem}" if field else f"{section}: {problem}")
        self.section = section
        self.field = field
        self.problem = problem
