"""What people wrote, made fit to stand among our own tags and a model's roles.

A model reads the text, and no parser does. So it is not only "</message>" that could pass for the end of a message, but
all that looks like it, and what nobody sees must neither hide a tag nor carry words: invisible signs are left out.
Entities such as "&lt;" stay, for nothing on the way makes a sign of them, and our own tags are never written so.
"""

import re

# Control signs, directions of writing, joiners, fillers, variants, and the letters of "tags" that no font shows.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)

# Only what looks like a tag is touched, so that "price < 100" stays; a mark above or across a sign does not hide one.
# "<|" and "[INST]" open a turn in the formats of local models, whose servers may take them for their own.
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_OPENING = re.compile(
    rf"[<\u2329\u27e8\u276e\u3008\u226e\ufe64\uff1c](?=[\s{_MARKS}]*(?:[/!?|\u2044\u2215\uff01\uff0f\uff1f\uff5c]|[^\W\d_]))"
    r"|\[(?=\s*/?\s*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\s*\])",
    re.IGNORECASE,
)


def fenced(text: str) -> str:
    """The text with nothing in it that opens or closes a tag, or a turn of a chat format; else as it is seen."""
    return _OPENING.sub("‹", _UNSEEN.sub("", text))


def fenced_line(text: str) -> str:
    """The same for a text that must not look like the line after it."""
    return " ".join(fenced(text).split())
