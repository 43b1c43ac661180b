"""What holds of a connection that sends for many callers, after every step and whenever it rests: a function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sending_connector import SendingConnection


def check(connection: SendingConnection) -> None:
    """Check what holds after every step."""
    assert connection.channel.complaints == [], connection.channel.complaints
    assert connection.times_lost <= 1, "it has told its pool twice that it is lost"
    if not connection.commit._is_lost:
        as_many_transfers_are_in_the_air_as_are_counted(connection)
        what_waits_is_behind_a_flight_or_ready_to_leave(connection)


def check_at_rest(connection: SendingConnection) -> None:
    """Check what holds when nothing can go on without time passing, and the owner waits for nothing but news."""
    commit = connection.commit
    if commit._is_lost:
        assert connection.inside == 0, "callers of a connection that is lost have no answer"
    elif commit._sleep is not None and not commit._sleep.done():
        assert not connection.channel.end_was_read, "the connection has ended, and nobody is told"
        everybody_without_an_answer_waits_or_flies(connection)
        nothing_that_may_leave_stays(connection)
        what_rests_is_woken_in_time(connection)


def check_end(connection: SendingConnection) -> None:
    """Check what holds of one that is closed: nothing is left, and only the owner has driven the channel."""
    commit, channel, traffic = connection.commit, connection.channel, connection.commit._traffic
    assert connection.times_lost == 1
    assert connection.times_closed == 1
    assert commit._owner.done()
    assert channel.tasks <= {commit._owner}, "somebody else than its owner has driven a channel"
    assert channel.contexts <= {0}, "an owner works in the context of a caller"
    assert channel.times_closed == 1
    assert (traffic.flights, traffic.ready, traffic.resting, traffic._lines) == ({}, {}, {}, {})
    for arrivals in channel.confirmed.values():
        assert arrivals == sorted(arrivals), "one key's messages were confirmed out of their order of arrival"


def as_many_transfers_are_in_the_air_as_are_counted(connection: SendingConnection) -> None:
    """The owner's count is that of the flights in the air, and within the window."""
    commit = connection.commit
    in_air = sum(flight.is_in_air for flight in commit._traffic.flights.values())
    assert commit._in_air == in_air, f"{in_air} in the air, {commit._in_air} counted"
    assert in_air <= connection.window


def what_waits_is_behind_a_flight_or_ready_to_leave(connection: SendingConnection) -> None:
    """Each key of which something waits is either flying or ready; no other key is ready; what rests flies."""
    traffic = connection.commit._traffic
    for key, line in traffic._lines.items():
        assert line, f"an empty line of key {key}"
        assert (key in traffic.flights) != (key in traffic.ready), f"messages of key {key} wait for nothing"
    assert traffic.ready.keys() <= traffic._lines.keys()
    assert traffic.resting.keys() <= set(traffic.flights.values())


def everybody_without_an_answer_waits_or_flies(connection: SendingConnection) -> None:
    """Each caller without an answer is in line or in a flight, and nobody in line has one."""
    traffic = connection.commit._traffic
    in_line = [waiting for line in traffic._lines.values() for waiting in line]
    assert all(not waiting.answer.done() for waiting in in_line), "somebody with an answer is in line"
    flying = [member for flight in traffic.flights.values() for member in flight.members if not member.answer.done()]
    assert connection.inside == len(in_line) + len(flying), (
        f"{connection.inside} callers without an answer, {len(in_line)} in line, {len(flying)} flying"
    )


def nothing_that_may_leave_stays(connection: SendingConnection) -> None:
    """While the owner sleeps, whatever could leave has left, and whatever was answered has been told."""
    commit, channel = connection.commit, connection.channel
    assert not commit._settled, "an outcome that nobody is told"
    assert not commit._requests.are_waiting
    for flight in commit._traffic.flights.values():
        assert flight.outcome is None, "an outcome that nobody is told"
        assert flight.is_in_air or flight in commit._traffic.resting
    if commit._in_air < connection.window and not channel.is_closed:
        late = [flight.address for flight in commit._traffic.resting if flight.retry_at <= commit._loop.time()]
        ready = [commit._packing.address(key) for key in commit._traffic.ready]
        for address in (*late, *ready):
            assert channel.credit[address] == 0, f"something for {address} could leave, and does not"


def what_rests_is_woken_in_time(connection: SendingConnection) -> None:
    """The owner's alarm rings for the next try of whatever rests, and for the channel's own needs."""
    commit = connection.commit
    times = [flight.retry_at for flight in commit._traffic.resting if flight.retry_at > commit._loop.time()]
    assert commit._alarm._handle is not None
    assert commit._alarm._when <= min(times, default=connection.channel.tend_at)
