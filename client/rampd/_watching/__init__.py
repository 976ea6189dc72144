"""The state that a server sends by Watch, and how this process resolves jobs from it."""
