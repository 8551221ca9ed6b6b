"""Recognises what a model writes for programs: calls of tools, JSON, marks of chat formats; and takes HTML away."
" No I/O."""

import html
import json
import re

_CALL = re.compile(
    r"\"(?:arguments|parameters|tool_input|tool_name|tool_calls?|function_call|tool_call_id|action_input|function"
    r"|tool)\"\s*:"
    r"|\[/?(?:TOOL|FUNCTION)_?(?:CALLS?|REQUESTS?|RESULTS?)\b|<\|?/?(?:tool|function)[\w▁ -]*[=|>]"
    r"|<[\w:]*/?(?:invoke|parameter|function_calls|tool_use|tool_code|execute)\b|tool▁|functools\[|✿|functions\.\w+"
    r"|default_api\."
    r"|\b(?:action|действие)\s*:\s*[\w ]{1,40}\n\s*(?:action input|ввод)\s*:|```\s*(?:tool_code|tool_call|python"
    r"|bash|sql|json)\b"
    r"|(?<![\w/.])[a-z]+(?:_[a-z0-9]+)+\((?:\)|\s*(?:[a-z_]+\s*=|[\"'{\[\d]|[А-Яа-яЁё]))"
    r"|(?<![\w/.])[a-z]+[A-Z]\w*\(\s*(?:[\"'{]|[a-z_]+\s*[=:])|<(?:function|tool)=",
    re.IGNORECASE,
)
_CASED_CALL = re.compile(r"(?<![\w/.])[a-z]+[A-Z]\w*\(\s*(?:[\"'{]|[a-z_]+\s*[=:])")

_BEFORE = re.compile(
    r"\A\s*(?:(?:<\|?(?:im_start|start_header_id|start_of_turn|begin_of_text|startoftext|start|bos|s)\|?>|<s>"
    r"|<bos>|\[/INST\]|<\|(?:assistant|model|bot)\|>|<｜[^｜\n]{0,12}(?:sentence|assistant)[^｜\n]{0,4}｜>)\s*"
    r"(?:(?:assistant|model|bot)\b(?:<\|(?:end_header_id|message|im_sep)\|>)?\s*)?)+",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"<\|?/?(?:im_end|im_start|end_of_turn|start_of_turn|eot_id|eom_id|end_of_text|endoftext|end|eos"
    r"|start_header_id|user|return|eot|pad|end_of_sentence|end_of_utterance|diff_marker)\|?>.*\Z"
    r"|</s>.*\Z|<｜[^｜\n]{0,16}(?:sentence|user|assistant)[^｜\n]{0,4}｜>.*\Z|\[/?INST\].*\Z|<\|(?:user|system"
    r"|assistant)\|>.*\Z|\[(?:eos|end|eot|конец)\]\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_LEFT = re.compile(
    r"<[|｜][^<>\n]{1,60}[|｜]?>|</?[a-z][\w:.-]*(?:\s[^<>\n]{0,120})?/?>|\[/?(?:INST|THINK|TOOL_CALLS?"
    r"|AVAILABLE_TOOLS|SYSTEM_PROMPT|ANSWER|RESPONSE|SYSTEM|THOUGHTS?|REASONING|ANALYSIS)\]|<<?/?SYS>>?"
    r"|[◁▷]|^###\s|\b(?:assistantfinal|assistantanalysis|assistantcommentary)"
    r"|^[ \t]*[{\[]\s*\"[^\"\n]{1,60}\"\s*[:,\]]|</?(?:ответ|мысли|размышления|анализ)>",
    re.IGNORECASE | re.MULTILINE,
)

_ANSWER_KEY = re.compile(
    r"(?:(?:final|client|customer)_?)?(?:answer|reply|response|text|message|content|output)(?:_text)?|final|assistant"
    r"|ответ|сообщение|текст",
    re.IGNORECASE,
)
_FENCE = re.compile(r"\A\s*(```+|~~~+)[ \t]*(\w*)[ \t]*\n(.*?)\n?\s*\1\s*\Z", re.DOTALL)
_OPEN_FENCE = re.compile(r"\A\s*```+[ \t]*(?:markdown|md|text|txt|plaintext)?[ \t]*\n", re.IGNORECASE)

_ITEM = re.compile(r"\s*<li\b[^>]*>\s*", re.IGNORECASE)
_LINE = re.compile(
    r"\s*<(?:br|/p|/div|/h[1-6]|/tr|/li|hr)\b[^>]*>\s*|\s*</?(?:ul|ol|table|tbody|thead)\b[^>]*>\s*", re.IGNORECASE
)
_ANCHOR = re.compile(r"<a\b[^>]*\bhref\s*=\s*[\"']?([^\"'>\s]+)[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL)
_INLINE = re.compile(
    r"</?(?:p|div|h[1-6]|tr|td|th|b|strong|i|em|u|s|span|font|small|big|code|pre|body|html|center|mark|sup"
    r"|sub)\b[^<>]*>",
    re.IGNORECASE,
)


def is_call(text: str) -> bool:
    """Whether the text calls a tool; there is none."""
    return bool(_CALL.search(text) or _CASED_CALL.search(text))


def between_marks(text: str) -> str:
    """The text between the marks with which a chat format begins and ends an answer."""
    return _AFTER.sub("", _BEFORE.sub("", text))


def mark_in(text: str) -> str | None:
    """The first mark of a program or a chat format that is left in a text."""
    match = _LEFT.search(text)
    return match[0] if match else None


def unwrapped(text: str) -> str:
    """The answer out of a block of code, or out of a JSON object with only one text for a client."""
    if fence := _FENCE.match(text):
        if fence[2].casefold() in ("", "markdown", "md", "text", "txt", "plaintext", "html", "json"):
            text = fence[3]
    elif match := _OPEN_FENCE.match(text):
        text = text[match.end() :].removesuffix("```")
    try:
        told = json.loads(text) if text.lstrip().startswith(("{", '"')) else None
    except ValueError:
        return text
    if isinstance(told, str):
        return told
    said = [value for key, value in (told or {}).items() if _ANSWER_KEY.fullmatch(key) and isinstance(value, str)]
    return said[0] if len(said) == 1 else text


def without_html(text: str) -> str:
    """The text with HTML's lists and lines as lines, and without its other tags."""
    if not re.search(r"</?[a-z]|&[a-z#]\w{1,8};", text, re.IGNORECASE):
        return text
    text = _ANCHOR.sub(lambda match: f"[{match[2]}]({match[1]})", text)
    return html.unescape(_INLINE.sub("", _LINE.sub("\n", _ITEM.sub("\n- ", text))))
