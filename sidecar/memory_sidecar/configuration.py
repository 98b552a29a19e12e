"""Keeps the policies of all bound memories current: by push, by polling behind it, and after each reconnect.

One loop reads them, one after the other, so that what was read last is what the store said last.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from memory_core.errors import AgentMemoryError, StoreUnavailable
from memory_core.store import Store, functions
from memory_sidecar.memories import BoundMemory, Memories

_log: Final = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 2.0  # for new annotations (the kubelet itself takes up to a minute) and for what stayed due


class ConfigurationKeeper:
    """Reads configurations when they may have changed."""

    def __init__(
        self, store: Store, memories: Memories, *, poll_seconds: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._store = store
        self._memories = memories
        self._poll_seconds = poll_seconds
        self._jitter = jitter
        self._due: set[BoundMemory] = set()
        self._wake = asyncio.Event()
        self._channels: set[bytes] = set()
        store.on_connect(self._read_all)

    async def run(self) -> None:
        """Keep the policies current until cancelled."""
        loop = asyncio.get_running_loop()
        poll_at = loop.time()
        while True:
            if self._memories.reload():
                self._follow_channels()
                self._read_all()
            if loop.time() >= poll_at:
                poll_at = loop.time() + self._poll_seconds * (2 + 2 * self._jitter()) / 3
                self._read_all()
            await self._read_due()
            await self._sleep(min(_LOOK_SECONDS, poll_at - loop.time()))

    async def refresh(self, memory: BoundMemory) -> None:
        """Read the configuration of one memory now, and put it into effect or out of it.

        Raises StoreUnavailable, which changes nothing.
        """
        try:
            memory.adopt(await functions.read_config(self._store, memory.keys))
        except StoreUnavailable:
            raise
        except AgentMemoryError as error:
            memory.withdraw(error)

    async def _read_due(self) -> None:
        """Read what may have changed; what the store cannot tell now stays due."""
        while self._due:
            memory = self._due.pop()
            try:
                await self.refresh(memory)
            except StoreUnavailable:
                self._due.add(memory)
                return

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until something is due."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    def _read_all(self) -> None:
        self._due.update(self._memories)
        self._wake.set()

    def _follow_channels(self) -> None:
        """Subscribe to the channels of exactly the bound memories."""
        wanted = {memory.keys.channel: memory for memory in self._memories}
        for channel in self._channels - wanted.keys():
            self._store.unsubscribe(channel)
        for channel, memory in wanted.items():
            self._store.subscribe(channel, self._notifier(memory))
        self._channels = set(wanted)

    def _notifier(self, memory: BoundMemory) -> Callable[[bytes], None]:
        def notify(_revision: bytes) -> None:
            self._due.add(memory)
            self._wake.set()

        return notify
