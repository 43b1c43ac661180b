"""Bugs of the pool, for the simulation to find."""

from __future__ import annotations

from .planted_bugs import PlantedBug


def _bug(name: str, module: str, before: str, after: str) -> PlantedBug:
    return PlantedBug(name, "pool", f"pool/{module}.py", before, after)


BUGS = (
    # Waiting.
    _bug(
        "a place is lost when its caller is cancelled in the moment of being served",
        "generation",
        "                self.give_back(place.result())\n            raise",
        "                pass\n            raise",
    ),
    _bug(
        "a place that comes back from a cancelled caller is not handed on",
        "generation",
        "                self.give_back(place.result())\n            raise",
        "                self.ledger.give(place.result())\n            raise",
    ),
    _bug(
        "who leaves the line stays in it",
        "generation",
        "            self.waiters.leave(place)\n",
        "",
    ),
    _bug("the last in line is served first", "waiters", "popitem(last=False)", "popitem(last=True)"),
    _bug(
        "a place is given to who was cancelled",
        "waiters",
        "            if not place.done():\n                return place",
        "            return place",
    ),
    _bug(
        "a caller's deadline begins again while others are served",
        "generation",
        "        if not place.done():\n            self._counters.timeouts += 1",
        "        if self.ledger.lowest == self.limits.client_limit and self.clients:\n"
        "            self.loop.call_later(waited_seconds, self._give_up, place, waited_seconds)\n"
        "        elif not place.done():\n            self._counters.timeouts += 1",
    ),
    _bug(
        "more may wait than max_waiting",
        "generation",
        "len(self.waiters) > max_waiting",
        "len(self.waiters) > max_waiting + 1",
    ),
    # Counting.
    _bug(
        "a client who leaves a draining connection is counted twice",
        "generation",
        "            self._leaving_clients -= 1\n",
        "            self._leaving_clients -= 2\n",
    ),
    _bug(
        "the clients of a connection that drains are not counted any more",
        "generation",
        "        self._leaving_clients += connection.current_client_count\n",
        "",
    ),
    _bug("the fewest clients are not noted", "ledger", "if count < self.lowest:", "if count > self.lowest:"),
    _bug(
        "a checkout takes the connection that was idle last",
        "ledger",
        "bucket.popitem(False)",
        "bucket.popitem(True)",
    ),
    _bug(
        "a lease is given back to whatever generation the pool has now",
        "lease",
        "        generation = self._generation\n        if error",
        "        generation = self._pool._generation\n        if error",
    ),
    # Closing connections.
    _bug(
        "a retired connection is closed under its clients",
        "generation",
        "        self.draining[connection] = None\n        if not connection.current_client_count:\n",
        "        self.draining[connection] = None\n        if True:\n",
    ),
    _bug(
        "a connection is closed twice",
        "generation",
        "                if not connection.is_closing:\n                    self.tasks.close(connection)\n            if",
        "                self.tasks.close(connection)\n            if",
    ),
    _bug(
        "what was created is not closed when it does not prove to work",
        "tasks",
        "            if has_transport:\n                self.close(connection)\n",
        "",
    ),
    _bug(
        "closing takes as long as it takes",
        "tasks",
        "asyncio.timeout(self._owner.limits.close_timeout)",
        "asyncio.timeout(None)",
    ),
    # Opening.
    _bug(
        "no successor is opened for a connection that was retired",
        "generation",
        "            self.tasks.close(connection)\n        self._replenish()\n        if self._is_hopeless",
        "            self.tasks.close(connection)\n        if self._is_hopeless",
    ),
    _bug(
        "growth is counted twice",
        "generation",
        "aim = max(aim, ready + 1)",
        "aim = max(aim, ready + 2)",
    ),
    _bug(
        "what is on its way is opened again",
        "generation",
        "missing = self._aim() - (ready - due + opening)",
        "missing = self._aim() - (ready - due)",
    ),
    _bug(
        "max_concurrent_creates is ignored",
        "generation",
        "else self.limits.max_concurrent_creates\n",
        "else self.limits.cap\n",
    ),
    _bug(
        "the cap is ignored",
        "generation",
        "min(missing, room, self.limits.cap - self._existing, at_once - opening)",
        "min(missing, room, at_once - opening)",
    ),
    _bug(
        "the burst lasts although nobody waits",
        "generation",
        "if self.waiters and ready >= limits.max_size and",
        "if ready >= limits.max_size and",
    ),
    _bug(
        "opening takes as long as it takes",
        "tasks",
        "asyncio.timeout(self._owner.limits.create_timeout)",
        "asyncio.timeout(None)",
    ),
    _bug(
        "who waits is not served by a connection that has opened",
        "generation",
        "        self._serve_waiters()\n        if len(self.ledger)",
        "        if len(self.ledger)",
    ),
    # Failing.
    _bug(
        "the back-off is never reset",
        "backoff",
        "        self.retry_at = None\n        self._failures = 0\n",
        "        self.retry_at = None\n",
    ),
    _bug(
        "nobody tries again after a failure",
        "generation",
        "self._set_alarm(now)  # For the next attempt",
        "pass  # For the next attempt",
    ),
    _bug(
        "who waits is not told that nothing can be opened",
        "generation",
        "            retry_at - now,\n        )\n        if self._is_hopeless():\n",
        "            retry_at - now,\n        )\n        if False:\n",
    ),
    _bug(
        "several attempts at once ask a service that is failing",
        "generation",
        "at_once = 1 if self.backoff.is_failing else",
        "at_once =",
    ),
    # Retiring.
    _bug(
        "an old connection goes before its successor is ready",
        "retirement",
        "connection.retires_at <= now:\n                self.due[connection] = None",
        "connection.retires_at <= now:\n                leaving[connection] = None",
    ),
    _bug(
        "the time of idleness begins with the connection's life",
        "ledger",
        "        if not count:\n            connection.idle_since = self._clock()\n",
        "",
    ),
    _bug(
        "an alarm for an earlier time is not set",
        "alarm",
        "if self._when <= when:",
        "if self._when >= when:",
    ),
    # Closing the pool.
    _bug(
        "what is being opened goes on while the pool closes",
        "generation",
        "        self.tasks.cancel_opening()\n",
        "",
    ),
    _bug(
        "closing waits for clients who have left",
        "generation",
        "            if self.is_closing and not self.clients:\n                self.stop_draining()\n",
        "",
    ),
    _bug(
        "who waits is forgotten when the pool closes",
        "generation",
        '        self._send_everyone_away(lambda: PoolClosed(self._name, state="closing"))\n',
        "",
    ),
)
