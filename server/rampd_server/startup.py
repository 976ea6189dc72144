"""What keeps the server from starting."""


class StartupError(Exception):
    """Raised when the server can't start as it was told to.

    `sentences` says why, all of it at once, for whoever typed the command; the command then ends with exit code 2.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
