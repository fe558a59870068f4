"""YAML front matter of strangers' files: safe, bounded, and without surprises.

* Only plain values: text, whole numbers, exact decimals, booleans, null, lists and maps
  with text keys.  Tags that make objects are refused by the safe loader.
* Size, depth and number of nodes are bounded before anything is built; anchors and
  aliases, with which a few bytes become gigabytes, and keys that stand twice are refused.
* ``no`` and ``on`` are words, not booleans; a date is its text; ``1:30`` is no number.

What the keys mean is ``hub_card``'s to say.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

import yaml

from hanse.core.errors import WrongUse
from hanse.core.limits import (
    HUB_CARD_DEPTH_MAX,
    HUB_CARD_FRONT_BYTES_MAX,
    HUB_CARD_NODES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

_FENCE: Final = re.compile(r"^---[ \t]*$", re.MULTILINE)
_NUMBER_CHARACTERS_MOST: Final = 40


class FrontMatterUnfit(WrongUse):
    """The front matter is no YAML we take; ``reason`` is a stable word, ``detail`` the place."""

    code = "hub_card.front_matter"
    text = "the front matter cannot be read, {reason}: {detail}"
    fields = ("reason", "detail")


class _Loader(yaml.SafeLoader):
    """The safe loader without dates, sexagesimals and words that become booleans."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  the library's
    ) -> dict[Hashable, object]:
        """Build a map; refuse a key that stands twice or is no text."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key in seen:
                reason = "key" if key is None else "key_twice"
                raise FrontMatterUnfit(reason=reason, detail=_place(key_node.start_mark))
            seen.add(key)
        built: dict[Hashable, object] = {}
        for key_node, value_node in node.value:
            built[key_node.value] = self.construct_object(value_node, deep=deep)
        return built


def _plain(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    text = _plain(loader, node)
    is_number = re.fullmatch(r"[+-]?(0|[1-9][0-9]*)", text) and len(text) < _NUMBER_CHARACTERS_MOST
    return int(text) if is_number else text


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> Decimal | str:
    text = _plain(loader, node)
    if len(text) > _NUMBER_CHARACTERS_MOST:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() else text


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> bool | str:
    text = _plain(loader, node)
    return {"true": True, "false": False}.get(text.casefold(), text)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)
_Loader.add_constructor("tag:yaml.org,2002:bool", _boolean)


def split_front_matter(text: str) -> tuple[str, str]:
    """Return what stands between the two ``---`` at the beginning, and the rest.

    The first is empty where there is no front matter.
    """
    if _FENCE.match(text) is None:
        return "", text
    start = text.find("\n") + 1
    end = _FENCE.search(text, start) if start else None
    if end is None:
        raise FrontMatterUnfit(reason="unclosed", detail="---")
    return text[start : end.start()], text[end.end() :]


def read_front_matter(front: str) -> dict[str, object]:
    """Read front matter as a map of plain values, or raise ``FrontMatterUnfit``."""
    size = len(front.encode(errors="surrogatepass"))
    if size > HUB_CARD_FRONT_BYTES_MAX:
        raise FrontMatterUnfit(reason="size", detail=f"{size} B > {HUB_CARD_FRONT_BYTES_MAX} B")
    try:
        _check_bounds(front)
        value: object = yaml.load(front, Loader=_Loader)  # noqa: S506  it is a safe loader
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        raise FrontMatterUnfit(reason="yaml", detail=place) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FrontMatterUnfit(reason="yaml", detail=type(error).__name__) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FrontMatterUnfit(reason="no_map", detail=type(value).__name__)
    return value


def _check_bounds(front: str) -> None:
    """Count nodes and depth event by event; nothing is built yet."""
    depth = nodes = 0
    for event in yaml.parse(front, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise FrontMatterUnfit(reason="alias", detail=_place(event.start_mark))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > HUB_CARD_DEPTH_MAX:
            raise FrontMatterUnfit(reason="depth", detail=_place(event.start_mark))
        if nodes > HUB_CARD_NODES_MAX:
            raise FrontMatterUnfit(reason="nodes", detail=_place(event.start_mark))


def _place(mark: object) -> str:
    """Write where a mark of the library stands: line and column, from 1."""
    return f"{getattr(mark, 'line', 0) + 1}:{getattr(mark, 'column', 0) + 1}"
