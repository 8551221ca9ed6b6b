"""What people wrote, made fit to stand among our own tags and a model's roles."""

import re

# Only what looks like a tag is touched, so that "price < 100" stays. Invisible characters do not hide one.
# "<|" and "[INST]" open a turn in the formats of local models, whose servers may take them for their own.
_OPENING = re.compile(
    r"<(?=[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*[/!?|\uff5cA-Za-z])"
    r"|\[(?=\s*/?\s*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\s*\])",
    re.IGNORECASE,
)


def fenced(text: str) -> str:
    """The text with nothing in it that opens or closes a tag, or a turn of a chat format; else as it was."""
    return _OPENING.sub("‹", text)
