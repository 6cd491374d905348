"""HTML in which text is text: whatever is no `Html` is escaped, so that forgetting to is not possible."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup that this module made."""

    __slots__ = ()


def shown(untrusted_text: str) -> str:
    """Text with nothing in it that is not seen: a label must not turn the direction of what stands around it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in untrusted_text)


def element(name: str, *children: Html | str | int, **attributes: str) -> Html:
    """`<name …>children</name>`. Attributes are named as in HTML, with a trailing _ where Python has that word."""
    return Html(f"<{name}{_attributes(attributes)}>{joined(children)}</{name}>")


def joined(children: Iterable[Html | str | int]) -> Html:
    """One after the other."""
    return Html("".join(one if isinstance(one, Html) else escape(shown(str(one))) for one in children))


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(shown(value))}"' for name, value in attributes.items()
    )
