"""XML from elsewhere, parsed without what can do harm."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from smaf.core.errors import InputError


def parse_xml(data: bytes, where: str, fix: str) -> ElementTree.Element:
    """Parse XML in UTF-8; return its first element.

    Raises :class:`InputError` where it is broken, or declares a document type or entities: a small
    file of nested entities can fill the memory.
    """
    try:
        # decoded here and parsed as text: another encoding could hide a declaration from the test
        # below
        text = data.decode("utf-8-sig")
        if re.search(r"<!(DOCTYPE|ENTITY)", text, flags=re.IGNORECASE):
            raise InputError(
                f"{where} declares a document type or entities, which such files do not: {fix}"
            )
        return ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, RecursionError) as error:
        raise InputError(f"{where} is not valid XML in UTF-8 ({error}): {fix}") from error
