"""Bugs of group commit, for the simulation to find."""

from __future__ import annotations

from .planted_bugs import PlantedBug


def _bug(name: str, module: str, before: str, after: str, *, world: str = "sending") -> PlantedBug:
    return PlantedBug(name, world, f"clients/{module}.py", before, after)


BUGS = (
    # Telling.
    _bug(
        "only the first of a batch is told",
        "coalescing",
        "for count, member in enumerate(flight.members, 1):",
        "for count, member in enumerate(flight.members[:1], 1):",
    ),
    _bug(
        "of many callers of a lost connection only the first are told",
        "farewell",
        "            self._loop.call_soon(self.begin)\n",
        "            pass\n",
        world="crowd",
    ),
    _bug(
        "who sends over a lost connection waits for ever",
        "coalescing",
        "        if self._is_lost:\n            raise self._packing.interrupted(maybe_delivered=False)\n        loop =",
        "        loop =",
    ),
    _bug(
        "what was in the air of a lost connection is told to be safe to send again",
        "coalescing",
        "maybe_delivered=outcome is None and flight.is_in_air)",
        "maybe_delivered=False)",
    ),
    _bug(
        "what is in the air when its time is over is told to be safe to send again",
        "coalescing",
        "self._packing.timed_out(maybe_delivered=flight.is_in_air)",
        "self._packing.timed_out(maybe_delivered=False)",
    ),
    _bug(
        "a service that failed in the midst of it is taken not to have stored it",
        "transfers",
        'frozenset({"com.microsoft:timeout", "amqp:internal-error"})',
        'frozenset({"com.microsoft:timeout"})',
    ),
    # Sending again.
    _bug(
        "a transfer of unknown outcome is sent again",
        "transfers",
        "return self.kind is OutcomeKind.RELEASED or",
        "return self.kind in {OutcomeKind.RELEASED, OutcomeKind.LOST} or",
    ),
    _bug(
        "what may have been stored is sent again although one attempt is allowed",
        "resending",
        "            if error.maybe_delivered or loop.time() + pause >= deadline:",
        "            if loop.time() + pause >= deadline:",
    ),
    _bug(
        "one attempt more than is allowed",
        "resending",
        "if attempts and (error.maybe_delivered",
        "if attempts >= 0 and (error.maybe_delivered",
    ),
    _bug(
        "the time of a caller begins again with each connection",
        "resending",
        "        left = max(deadline - loop.time(), 0.0)\n",
        "        left = seconds\n        deadline = loop.time() + seconds\n",
    ),
    _bug(
        "what an earlier attempt may have stored is forgotten",
        "resending",
        "doubtful = error if error.maybe_delivered else doubtful",
        "doubtful = None",
    ),
    _bug(
        "an old answer settles a later try",
        "coalescing",
        "flight.outcome is None and flight.retries == retries:",
        "flight.outcome is None:",
    ),
    _bug(
        "nothing wakes the owner for the next try",
        "coalescing",
        "                self._alarm.wake_by(flight.retry_at)\n",
        "                pass\n",
    ),
    # Order and windows.
    _bug(
        "one transfer more than the window has",
        "coalescing",
        "if self._in_air >= self._window:",
        "if self._in_air > self._window:",
    ),
    _bug(
        "transfers that are answered are counted still",
        "coalescing",
        "            self._in_air -= 1\n",
        "",
    ),
    _bug(
        "two transfers of one key in flight",
        "flights",
        "        if waiting.key in self.flights:\n            return False\n",
        "",
    ),
    _bug(
        "a batch mixes keys",
        "flights",
        "return list(self._lines.get(key, ()))",
        "return [waiting for line in self._lines.values() for waiting in line]",
    ),
    _bug(
        "who is put back comes behind those who came later",
        "flights",
        "returning | self._lines.get(key, {})",
        "self._lines.get(key, {}) | returning",
    ),
    _bug(
        "a key is not ready after its flight",
        "flights",
        "        self.ready[flight.key] = None\n        return True",
        "        return True",
    ),
    # Batches.
    _bug(
        "who is cancelled while a batch is built stays in it",
        "batching",
        "if not any(member.answer.done() for member in members):",
        "if members:",
        world="crowd",
    ),
    _bug(
        "who is cancelled between two tries stays in the batch",
        "flights",
        "return self.payload is None or any(member.answer.done() for member in self.members)",
        "return self.payload is None",
    ),
    _bug(
        "who is cancelled stays in line",
        "coalescing",
        "            self._traffic.leave_line(waiting)\n            raise",
        "            raise",
    ),
    _bug(
        "messages that were refused for having been joined are joined again",
        "coalescing",
        "            member.leaves_alone = True\n",
        "            pass\n",
    ),
    _bug(
        "joining goes on though the service never takes it",
        "coalescing",
        "            self._joining.stop()\n",
        "            pass\n",
    ),
    _bug(
        "a made batch becomes a member of another",
        "batching",
        "if members and (waiting.leaves_alone or members[0].leaves_alone or",
        "if members and (members[0].leaves_alone or",
    ),
    _bug(
        "a made batch behind a message that cannot be sent becomes a member of another",
        "batching",
        "            if waiting.is_whole:  #",
        "            if waiting.is_whole and waiting is candidates[0]:  #",
    ),
    # The connection.
    _bug(
        "a connection that does not answer is kept",
        "coalescing",
        "                self._expire(member)\n            self.lose()",
        "                self._expire(member)",
    ),
    _bug(
        "a connection that takes nothing is kept",
        "coalescing",
        "        if now - self._still_since >= self._patience:\n            self.lose()\n",
        "        pass\n",
    ),
    _bug(
        "the end of the connection is not looked at",
        "coalescing",
        "                if channel.is_closed:\n                    break\n",
        "",
    ),
    _bug(
        "a transfer leaves over a connection that was found to be closed",
        "coalescing",
        "        if self._channel.is_closed:\n            # Nothing",
        "        if False:\n            # Nothing",
    ),
    _bug(
        "a link that is refused is told to nobody",
        "coalescing",
        "            flight.outcome = refused.outcome\n            self._settled.append(flight)\n",
        "            flight.outcome = refused.outcome\n",
    ),
    _bug(
        "a caller's timer outlives the answer",
        "coalescing",
        "        finally:\n            timer.cancel()\n            del waiting",
        "        finally:\n            del waiting",
    ),
    # Requests.
    _bug(
        "a request that was broken off is told to be safe to make again",
        "management",
        "partial(self._interrupt, self._serving, maybe_delivered=True)",
        "partial(self._interrupt, self._serving, maybe_delivered=False)",
    ),
    _bug(
        "a request whose time is over in the midst of it is told to be safe to make again",
        "management",
        "self._packing.timed_out(maybe_delivered=has_begun)",
        "self._packing.timed_out(maybe_delivered=False)",
    ),
    _bug(
        "a request is made although its caller has gone",
        "management",
        "        if request.answer.done():\n            return\n        self._serving",
        "        self._serving",
    ),
)
