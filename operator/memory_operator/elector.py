"""Runs the election against a Lease: polls as a candidate, renews as the leader, releases at the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from memory_core.logs import Log
from memory_operator.cluster import Cluster
from memory_operator.election import Election, LeaseRecord, Lost, Write
from memory_operator.errors import ApiConflict, ApiError, LeadershipLost

_log: Final = Log(__name__)

POLL_SECONDS: Final = 0.5  # of candidates; one small read, so that a released lead is taken over at once


class Elector:
    """One replica's part in the election."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        election: Election,
        namespace: str,
        name: str,
        renew_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._cluster = cluster
        self._election = election
        self._namespace = namespace
        self._name = name
        self._renew_seconds = renew_seconds
        self._clock = clock
        self._random_unit = random_unit
        self.looked_at = clock()  # when the loop last went round, for the health check

    @property
    def leads(self) -> bool:
        """Whether this replica may write now."""
        return self._election.leads(self._clock())

    async def acquire(self) -> int:
        """Wait until this replica leads; return the epoch of its term."""
        while True:
            self.looked_at = self._clock()
            try:
                if await self._step(await self._read()):
                    _log.info("leading", epoch=self._election.epoch)
                    return self._election.epoch
            except ApiConflict:
                continue  # somebody was faster; what they wrote decides
            except ApiError as error:
                _log.warning("lease not readable", detail=error.detail)
            await asyncio.sleep(POLL_SECONDS * (0.5 + self._random_unit()))

    async def keep(self) -> None:
        """Renew until the lead is lost; then raise LeadershipLost."""
        while self.leads:
            await asyncio.sleep(self._renew_seconds * (0.9 + 0.2 * self._random_unit()))
            self.looked_at = self._clock()
            try:
                await self._step(self._election.held)
            except ApiConflict:
                await self._reread()
            except ApiError as error:
                _log.warning("lease not renewed", detail=error.detail)
        raise LeadershipLost("the lease could not be renewed in time; another replica may lead now")

    async def release(self, *, minimum_transitions: int = 0) -> None:
        """Give the lead up, so that another replica takes over at once."""
        if self._election.held is None:
            return
        record = self._election.release(minimum_transitions=minimum_transitions)
        try:
            await self._cluster.write_lease(self._namespace, self._name, record)
        except ApiError as error:
            _log.warning("lease not released; it expires by itself", detail=error.detail)
        else:
            _log.info("lease released")

    async def _reread(self) -> None:
        """Look at what was written instead of our renewal: our own, whose answer was lost, or another's."""
        try:
            await self._step(await self._read())
        except ApiError as error:
            _log.warning("lease not renewed", detail=error.detail)

    async def _read(self) -> LeaseRecord | None:
        return await self._cluster.read_lease(self._namespace, self._name)

    async def _step(self, record: LeaseRecord | None) -> bool:
        """Do what the election decides; return whether it made or kept this replica the leader."""
        asked_at = self._clock()
        decision = self._election.next_write(record, asked_at)
        if isinstance(decision, Lost):
            raise LeadershipLost("another replica holds the lease")
        if not isinstance(decision, Write):
            return False
        written = await self._cluster.write_lease(self._namespace, self._name, decision.record)
        self._election.written(written, asked_at=asked_at)
        return True
