"""Whether an answer of the service is one that it may give: what was asked for, or a problem document."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: The HTTP status.
        headers: The headers, whatever the case of their names.
        body: The body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the request did what it was to do."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Read the body."""
        return json.loads(self.body)


def fault_of(answer: Answer) -> str | None:
    """Tell what is wrong with a failed request's answer; None where it is a problem document that says so.

    500 is never right, whatever it says: the service knows what Azure can do to it.
    """
    if answer.is_success:
        return None
    content_type = answer.headers.get("Content-Type", "")
    if answer.status == 500 or not 400 <= answer.status < 600:
        return f"{answer.status} {content_type}: {answer.body[:200]!r}"
    if content_type != PROBLEM_JSON:
        return f"{answer.status} is no problem document but {content_type!r}: {answer.body[:200]!r}"
    problem = answer.json()
    if problem.get("status") != answer.status or not problem.get("title") or not problem.get("detail"):
        return f"{answer.status} has the incomplete problem document {problem}"
    if answer.status == 503 and int(answer.headers.get("Retry-After", 0)) < 1:
        return "503 does not say when to come back"
    return None
