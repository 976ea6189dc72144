"""The calls of `Admin`, each written once for threads and for asyncio."""
