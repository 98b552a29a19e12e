"""The operator's side of the store: one connection, the function library on it, and an eye on what it may have lost.

The store is ready when it is connected and holds our library. A short absence is waited out instead of being reported,
so that a restart of the store does not change the status of every memory twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from memory_core.config import MemoryConfig, encode_config
from memory_core.errors import AgentMemoryError, ConfigurationUnavailable, StoreError, StoreUnavailable
from memory_core.keys import MemoryKeys, MemoryRef
from memory_core.logs import Log
from memory_core.store import Store, library
from memory_core.store.functions import PutConfig, delete_config, put_config, read_config
from memory_operator.metrics import Metrics
from memory_operator.record import Record

_log: Final = Log(__name__)

PATIENCE_SECONDS: Final = 2.0  # an absence up to this is not worth a word
_RETRY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.2  # how soon a lost connection is noticed when nothing is written


class StoreKeeper:
    """Knows whether the store can be used, and writes to it under the leader's epoch.

    `restored()` is called whenever the store may have lost what was written: connected anew, another process behind
    the address, library missing, a configuration missing. `lost()` is called when it has been away for too long.
    """

    def __init__(
        self,
        *,
        store: Store,
        record: Record,
        metrics: Metrics,
        epoch: int,
        restored: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._store = store
        self._record = record
        self._metrics = metrics
        self._epoch = epoch
        self._restored = restored
        self._lost = lost
        self._ready = asyncio.Event()
        self._refused: AgentMemoryError | None = None  # why a connected store is not ready
        self._away_since = time.monotonic()
        self._connected = asyncio.Event()
        self._run_id = ""
        store.on_connect(self._connected.set)
        if store.connected:
            self._connected.set()

    @property
    def store(self) -> Store:
        """Return the connection, for commands that are not configuration."""
        return self._store

    async def fault(self) -> AgentMemoryError | None:
        """Return why the store cannot be used, None when it can; waits a little for one that is just away."""
        if self._usable:
            return None
        if self._ready.is_set():
            self._set_away()
        patience = self._away_since + PATIENCE_SECONDS - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, patience)):
                await self._ready.wait()
        except TimeoutError:
            return self._refused or StoreUnavailable(
                f"The store at {self._store.address} is not reachable: {self._store.failure}."
            )
        return None

    async def explain(self, error: AgentMemoryError) -> AgentMemoryError | None:
        """Return what is wrong after a command failed with `error`; None when it should simply be tried again."""
        connects = self._store.connects
        fault = await self.fault()
        if fault is not None:
            return fault
        try:
            repaired = await self._ensure_library()
        except AgentMemoryError as refusal:
            return refusal
        return None if repaired or self._store.connects != connects else error

    async def put(self, config: MemoryConfig) -> PutConfig:
        """Write a configuration where it is missing or different, on record before it is there."""
        await self._record.add(config.ref)
        result = await put_config(self._store, MemoryKeys(config.ref), epoch=self._epoch, blob=encode_config(config))
        if result.changed:
            self._metrics.config_writes.inc()
        return result

    async def remove(self, ref: MemoryRef, *, purge: bool = False) -> bool:
        """Withdraw a configuration, on record until it is gone; return whether there was one."""
        removed = await delete_config(self._store, MemoryKeys(ref), epoch=self._epoch, purge=purge)
        if removed:
            self._metrics.config_removals.inc()
        await self._record.remove(ref)
        return removed

    async def run(self) -> None:
        """Follow the connection for ever: make the store ready after every connect, and say when it stays away."""
        while True:
            await self._connected.wait()
            self._connected.clear()
            await self._make_ready()
            while self._store.connected and not self._connected.is_set():  # noqa: ASYNC110  # it only has a flag
                await asyncio.sleep(_LOOK_SECONDS)
            self._set_away()
            await self._wait_patiently()

    async def probe(self, interval_seconds: float, settled: Callable[[], Sequence[MemoryRef]]) -> None:
        """Look regularly whether the store lost something; `settled` are the memories whose configuration is there."""
        while True:
            await asyncio.sleep(interval_seconds * (0.8 + 0.4 * random.random()))  # noqa: S311  # spreads load
            if not self._usable:
                continue
            try:
                if await self._ensure_library() or await self._restarted() or await self._forgot(settled()):
                    _log.warning("store lost data; writing everything again")
                    await self._record.read()
                    self._restored()
            except AgentMemoryError as error:
                _log.warning("probe of the store failed", detail=error.detail)

    @property
    def _usable(self) -> bool:
        return self._ready.is_set() and self._store.connected

    async def _make_ready(self) -> None:
        while self._store.connected:
            try:
                await self._ensure_library()
                await self._restarted()
                await self._record.read()
            except AgentMemoryError as error:
                self._refused = error
                _log.warning("store not usable", detail=error.detail)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._refused = None
                self._ready.set()
                self._metrics.store_connected.set(1)
                self._restored()
                return

    def _set_away(self) -> None:
        self._ready.clear()
        self._away_since = time.monotonic()
        self._metrics.store_connected.set(0)

    async def _wait_patiently(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._connected.wait()
        except TimeoutError:
            _log.warning("store unreachable", address=self._store.address, detail=self._store.failure)
            self._lost()

    async def _ensure_library(self) -> bool:
        ensured = await library.ensure(self._store.settings)
        if ensured.loaded:
            self._metrics.library_repairs.inc()
            _log.info("function library loaded")
        return ensured.loaded

    async def _restarted(self) -> bool:
        """Whether another server process answers than before."""
        info: Any = await self._store.call(b"INFO", b"server")
        text = info.decode() if isinstance(info, bytes) else str(info)
        run_id = next((line[7:] for line in text.splitlines() if line.startswith("run_id:")), "")
        before, self._run_id = self._run_id, run_id
        return bool(before) and run_id != before

    async def _forgot(self, settled: Sequence[MemoryRef]) -> bool:
        """Whether the configuration of one memory, picked at random, is missing."""
        if not settled:
            return False
        try:
            await read_config(self._store, MemoryKeys(random.choice(settled)))  # noqa: S311  # a sample
        except (ConfigurationUnavailable, StoreError):
            return True
        return False
