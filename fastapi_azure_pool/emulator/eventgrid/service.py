"""The HTTP front of the topics: checks who publishes, what, and where to.

Source: "Publish events to Azure Event Grid custom topics using access keys", and the data plane's REST specification 2018-01-01.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.responses import Response

from fastapi_azure_pool.emulator.eventgrid.errors import EventGridError, injected
from fastapi_azure_pool.emulator.eventgrid.schemas import parse_events
from fastapi_azure_pool.emulator.http_service import HttpRequest, HttpService

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.eventgrid.authorization import Authorization
    from fastapi_azure_pool.emulator.eventgrid.topic import Topic
    from fastapi_azure_pool.emulator.faults import Delivery, Faults

EVENTGRID = "eventgrid"

# "Azure Event Grid event schema": an event, and the array that it comes in, has 1 MB at most.
MAX_BODY_BYTES = 1_048_576

_API_VERSION = "2018-01-01"


class EventGridService(HttpService):
    """Serves the topics of one emulator.

    Args:
        faults: Asked for every request.
        authorization: Who may publish.

    Attributes:
        topics: The topics, by name.
    """

    def __init__(self, faults: Faults, authorization: Authorization) -> None:
        super().__init__(EVENTGRID, faults, max_body_bytes=MAX_BODY_BYTES)
        self.topics: dict[str, Topic] = {}
        self._authorization = authorization

    def answer(self, request: HttpRequest) -> Response:
        """Take what is published, or refuse it as Azure does; of a refused batch nothing is kept."""
        try:
            self._publish(request)
        except EventGridError as error:
            return _refused(error)
        return Response(status_code=200)

    def fault_response(self, request: HttpRequest, delivery: Delivery) -> Response:  # noqa: ARG002 - all are refused alike
        """Refuse a request with the injected status."""
        response = _refused(injected(delivery.status))
        if delivery.retry_after is not None:
            response.headers["retry-after"] = str(math.ceil(delivery.retry_after))
        return response

    def _publish(self, request: HttpRequest) -> None:
        topic = self._find_topic(request.path)
        if topic is None:
            raise EventGridError(404, "The topic was not found; the path must read /topics/<name>/api/events.")
        if request.method != "POST":
            raise EventGridError(405, f"The requested verb {request.method} is not supported: events are posted.")
        self._authorization.check(request.headers, request.headers.get("host", ""), topic.path)
        version = dict(parse_qsl(request.query_string.decode("latin-1"))).get("api-version")
        if version != _API_VERSION:
            raise EventGridError(400, f"The api-version '{version or ''}' is not supported; write {_API_VERSION}.")
        if request.is_too_large:
            raise EventGridError(413, f"The maximum size ({MAX_BODY_BYTES}) has been exceeded.")
        content_type = request.headers.get("content-type", "")
        topic.events.extend(parse_events(request.body, content_type, topic.schema, topic.resource_id))

    def _find_topic(self, path: str) -> Topic | None:
        parts = path.split("/")
        topic = self.topics.get(parts[2]) if len(parts) > 2 else None
        return topic if topic is not None and topic.path == path else None


def _refused(error: EventGridError) -> Response:
    return Response(error.body(), error.status, media_type="application/json; charset=utf-8")
