"""Extraction of a page's text, as a program of its own, because a hostile page may keep a parser busy for hours.

It reads HTML from standard input and writes lines of JSON: first all text of the page, and, if that comes in time, the
main text as Markdown. What a browser would not show is in neither. Its caller kills it when its time is up.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any

MEMORY = 1_500_000_000
"""Most bytes of address space that it may have, where the system limits them."""
SECONDS = 30
"""Most seconds of processor time, should its caller not be there any more to kill it."""
NEVER_SHOWN = ("datalist", "iframe", "noframes", "noscript", "object", "script", "style", "template")
"""Elements whose text no browser shows."""
BLOCKS = re.compile(
    "address|article|aside|blockquote|br|caption|d[dlt]|div|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|li"
    "|main|nav|ol|p|pre|section|table|t[dhr]|ul"
)
"""Elements that begin a line."""
_PIXELS = {"px": 1, "pt": 1.3, "em": 16, "rem": 16, "ch": 8, "ex": 8, "%": 10, "vw": 10, "vh": 10}
"""Roughly how many pixels a unit has."""
_OFF_SCREEN = -900.0
"""In pixels; text that is moved further to the left or up cannot be seen."""
_MOVES = ("left", "top", "right", "bottom", "text-indent", "margin-left", "margin-top")
_BOXES = ("height", "width", "max-height", "max-width")
_COLOURS = {"white": "#ffffff", "black": "#000000", "snow": "#ffffff", "whitesmoke": "#ffffff"}


def main(source: bytes) -> None:
    """Write the texts of a page."""
    import trafilatura

    tree = trafilatura.load_html(source)
    if tree is None:
        return
    drop_hidden(tree)
    _write(_all_text(tree))
    with suppress(Exception):  # the first text is what there is, then
        _write(trafilatura.extract(tree, output_format="markdown", favor_recall=True, include_comments=False) or "")


def drop_hidden(tree: Any) -> None:
    """Take the elements out of a page that a browser would not show.

    It reads attributes, inline styles, and those rules of the page's own style sheets that name one class or id. What
    other style sheets and scripts hide is not known.
    """
    selectors = _hidden_selectors(" ".join(style.text or "" for style in tree.iter("style")))
    hidden = [element for element in tree.iter() if _is_hidden(element, selectors)]
    for element in hidden:
        if element.getparent() is not None:
            element.drop_tree()


def _is_hidden(element: Any, selectors: set[str]) -> bool:
    if not isinstance(element.tag, str):  # a comment or the like
        return True
    if element.tag in {"html", "body"}:  # some pages hide all of it until a script has run
        return False
    attributes = element.attrib
    return (
        element.tag in NEVER_SHOWN
        or "hidden" in attributes
        or attributes.get("aria-hidden", "").strip().lower() == "true"
        or (element.tag == "dialog" and "open" not in attributes)
        or f"#{attributes.get('id')}" in selectors
        or any(f".{name}" in selectors for name in attributes.get("class", "").split())
        or _hides(style := _declarations(attributes.get("style", "")))
        or _is_unseen(element, style)
    )


def _hides(style: dict[str, str]) -> bool:
    font = re.search(r"(?:^| )([\d.]+[a-z%]*)(?:/\S*)? \S", style.get("font", ""))
    clip = style.get("clip", "") + style.get("clip-path", "")
    transform = style.get("transform", "")
    return (
        style.get("display") == "none"
        or style.get("visibility") in {"hidden", "collapse"}
        or style.get("content-visibility") == "hidden"
        or _pixels(style.get("opacity")) < 0.05
        or _pixels(style.get("font-size")) < 2
        or _pixels(font[1] if font else None) < 2
        or any(_pixels(style.get(name)) <= _OFF_SCREEN for name in _MOVES)
        or (style.get("overflow") in {"hidden", "clip"} and any(_pixels(style.get(name)) < 2 for name in _BOXES))
        or re.search(r"rect\([01](?:px)?\b|inset\((?:50|100)%|circle\(0", clip) is not None
        or re.match(r"scale[xy]?\(0(?:\.0*)?[,)]", transform) is not None
        or any(_pixels(moved) <= _OFF_SCREEN for moved in re.findall(r"-[\d.]+[a-z%]+", transform))
    )


def _pixels(size: str | None) -> float:
    """A size in pixels, and infinity for what is none."""
    found = re.match(r"([+-]?(?:\d+\.?\d*|\.\d+))([a-z%]*)", size or "")
    return float(found[1]) * _PIXELS.get(found[2], 1.0) if found else float("inf")


def _is_unseen(element: Any, style: dict[str, str]) -> bool:
    """Whether text has the colour of what is behind it, by inline styles; without one, a page is white."""
    if "color" not in style:
        return False
    around = (_declarations(above.attrib.get("style", "")) for above in islice(element.iterancestors(), 20))
    behind = (known.get("background-color") or known.get("background") for known in chain([style], around))
    return _colour(style["color"]) in {_colour(next(filter(None, behind), "white")), "transparent"}


def _colour(value: str) -> str:
    """A colour, in one way of writing it."""
    if channels := re.match(r"rgba?\((\d+)[ ,]+(\d+)[ ,]+(\d+)(?:[ ,/]+([\d.]+%?))?\)", value):
        if channels[4] and not channels[4].strip("0.%"):
            return "transparent"
        return "#" + "".join(f"{min(int(channel), 255):02x}" for channel in channels.group(1, 2, 3))
    if re.match(r"#[0-9a-f]{8}\b", value):
        return "transparent" if value[7:9] == "00" else value[:7]
    if short := re.match(r"#([0-9a-f])([0-9a-f])([0-9a-f])\b", value):
        return "#" + "".join(digit * 2 for digit in short.groups())
    word = value.partition(" ")[0]
    return _COLOURS.get(word, word)


def _declarations(style: str) -> dict[str, str]:
    """Read the declarations of a style, without comments, escapes and capital letters."""
    style = re.sub(r"/\*.*?\*/", "", style[:5_000], flags=re.DOTALL)
    style = re.sub(r"\\([0-9a-fA-F]{1,6})\s?", lambda code: chr(min(int(code[1], 16), 0x10FFFF)), style)
    pairs = (pair.partition(":") for pair in style.replace("\\", "").lower().split(";"))
    return {name.strip(): " ".join(value.replace("!important", "").split()) for name, _, value in pairs}


def _hidden_selectors(sheet: str) -> set[str]:
    """The classes and ids that a style sheet hides by rules that name nothing else; not in @media and the like."""
    sheet = re.sub(r"/\*.*?\*/", "", sheet[:500_000], flags=re.DOTALL)
    hidden: set[str] = set()
    depth, start, selector = 0, 0, ""
    for brace in re.finditer(r"[{}]", sheet):
        between, start = sheet[start : brace.start()], brace.end()
        if brace[0] == "{":
            depth, selector = depth + 1, between
        else:
            if depth == 1 and _hides(_declarations(between)):
                hidden.update(name for name in map(str.strip, selector.split(",")) if re.fullmatch(r"[.#][\w-]+", name))
            depth = max(depth - 1, 0)
            selector = ""
    return hidden


def _all_text(tree: Any) -> str:
    """All text of a page, a line for each block."""
    body = tree.find("body")
    parts: list[str] = []
    for starts, element in walk(tree if body is None else body):
        if BLOCKS.fullmatch(element.tag):
            parts.append("\n")
        parts.append(re.sub(r"\s+", " ", (element.text if starts else element.tail) or ""))
    return re.sub(r" ?\n[ \n]*", "\n", "".join(parts)).strip()


def walk(tree: Any) -> Iterator[tuple[bool, Any]]:
    """Go through the elements of a page; each comes where it starts, and again, with False, where it ends."""
    ahead = [(True, tree)]
    while ahead:
        starts, element = ahead.pop()
        yield starts, element
        if starts:
            ahead.append((False, element))
            ahead.extend((True, child) for child in reversed(element))


def _write(text: str) -> None:
    sys.stdout.write(json.dumps(text[:200_000]) + "\n")
    sys.stdout.flush()


def _limit_resources() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _limit_resources()
    main(sys.stdin.buffer.read())
