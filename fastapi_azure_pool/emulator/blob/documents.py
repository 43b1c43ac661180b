"""The XML that clients send: read without entities, so that a small document cannot become a large one."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi_azure_pool.emulator.blob.errors import invalid_xml


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a document's root: its name and text."""

    name: str
    text: str


def read_document(body: bytes, root: str) -> list[Element]:
    """Return the elements of a document, in order.

    Args:
        body: The document.
        root: The name that its root must have.

    Raises:
        BlobError: 400 for what is no XML, has another root, elements in elements of the root, or declares entities.
    """
    from xml.parsers import expat  # noqa: PLC0415 - only block lists and key requests are XML

    path: list[str] = []
    text: list[str] = []
    elements: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:  # noqa: ARG001 - expat gives them
        path.append(name)
        text.clear()
        if path[0] != root or len(path) > 2:
            raise invalid_xml()

    def end(name: str) -> None:
        if len(path) == 2:
            elements.append(Element(name, "".join(text).strip()))
        path.pop()

    def refuse(*arguments: object) -> None:  # noqa: ARG001 - expat gives them
        raise invalid_xml()

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise invalid_xml() from error
    return elements
