"""What a server sends by Watch, and how jobs are resolved from it in this process."""
