"""Tells one waiter in this process for which components something has happened."""

import asyncio


class Announced:
    """Names each component once, however often it was announced since the last wait."""

    def __init__(self) -> None:
        self._components: set[str] = set()
        self._event = asyncio.Event()

    def announce(self, component: str) -> None:
        """Announces that something has happened to a component. It is cheap, so it may be called often."""
        self._components.add(component)
        self._event.set()

    async def wait(self) -> frozenset[str]:
        """The components that were announced since the last wait. Waits until there is at least one."""
        await self._event.wait()
        self._event.clear()
        components, self._components = self._components, set()
        return frozenset(components)
