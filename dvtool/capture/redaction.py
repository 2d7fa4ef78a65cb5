"""Takes secrets out of what is recorded: arguments, URLs, patches, captured output.

What may be recorded is listed where that is possible (variables of the environment, kinds of source files).  Elsewhere
three things betray a secret: that the environment holds the same text under a name that says secret, that the text
before it calls it one, and that it has a form in which services hand out credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dvtool import urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HIDDEN: Final = "[redacted]"
SHORTEST: Final = 6
"""Values of secret variables that are shorter are words, whose loss would make everything else unreadable."""

_WORD: Final = (
    r"pass(?:word|wd|phrase|code)|secret|token|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|private[_-]?key"
    r"|auth(?:orization)?|credentials?|bearer|session[_-]?key|signature|sas|cookie|client[_-]?secret|account[_-]?key"
    r"|encryption[_-]?key|signing[_-]?key|webhook"
)
_NAME: Final = re.compile(rf"(?:^|[^a-z0-9]|_)(?:{_WORD})s?(?:$|[^a-z0-9]|_)|passw|secret|token|apikey", re.IGNORECASE)
_HARMLESS: Final = re.compile(
    r"(?:max|min|num|n|no|pad|eos|bos|unk|sep|cls|mask|special|added|new|per|total|out|in|image|prompt|completion)"
    r"[_-]?(?:new[_-]?)?tokens?|tokens?[_-]?(?:per[_-]?\w+|count|s|limit|len|length|type|types|size|dim|num|dropout)"
    r"|tokeni[sz]er\w*|tokeni[sz]ers[_-]parallelism|sep[_-]?token|secretary|\w*tokens",
    re.IGNORECASE,
)
"""Words of machine learning that look like those of secrets."""

FORMS: Final = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}\b",  # access keys of AWS
    r"\bgh[pousr]_[A-Za-z0-9]{20,}\b",  # GitHub
    r"\bgithub_pat_[A-Za-z0-9_]{20,}\b",
    r"\bglpat-[A-Za-z0-9_-]{16,}",  # GitLab
    r"\bhf_[A-Za-z0-9]{20,}\b",  # Hugging Face
    r"\bsk-(?:[A-Za-z]+-)*[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}\b",  # Stripe
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"https://hooks\.slack\.com/[A-Za-z0-9/_-]+",
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\bya29\.[A-Za-z0-9_-]{20,}",
    r"\bGOCSPX-[A-Za-z0-9_-]{20,}",
    r"\bnpm_[A-Za-z0-9]{30,}\b",
    r"\bpypi-[A-Za-z0-9_-]{32,}",
    r"\bdop_v1_[a-f0-9]{32,}\b",  # DigitalOcean
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",  # JSON Web Tokens
    r"\bdv-identity-[A-Za-z0-9]{20,}",
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}\b",
)
_FORMS: Final = re.compile("|".join(f"(?:{form})" for form in FORMS))
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)(\s+)([A-Za-z0-9+/=._~-]{8,})")
_ASSIGNED: Final = re.compile(
    r"""(?P<name>[\w.-]*(?:""" + _WORD + r""")[\w.-]*)(?P<mark>["']?\s*(?:=>|:=|[=:])\s*)"""
    r"""(?P<value>"(?:[^"\\\n]|\\.)+"|'(?:[^'\\\n]|\\.)+'|(?!\[redacted)[^\s"',;&)\]}]{4,})""",
    re.IGNORECASE,
)
_WITH_USER: Final = re.compile(r"([a-z][a-z0-9+.-]*://)([^/\s@\"']+)@", re.IGNORECASE)
_QUERY: Final = re.compile(
    r"([?&](?:[\w-]*(?:" + _WORD + r"|sig|x-amz-[\w-]+|x-goog-[\w-]+)[\w-]*)=)([^&\s\"'#]+)", re.IGNORECASE
)
_PLAIN: Final = re.compile(
    r"(?i)true|false|none|null|yes|no|on|off|-?[0-9.]{1,12}|os\.environ.*|getenv.*|\$\{?\w+\}?|[\w.]+\(.*|<.*>"
)
"""Values that are no secrets, whatever they are called."""


def is_secret_name(name: str) -> bool:
    """Return whether what is called so is likely to be a secret."""
    if _HARMLESS.fullmatch(name):
        return False
    return _NAME.search(name) is not None or urls.names_credential(name)


class Redactor:
    """Takes secrets out of texts."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Learn the values of variables with secret names, which are then found wherever they stand."""
        values = {
            value
            for name, value in (environment or {}).items()
            if is_secret_name(name) and len(value) >= SHORTEST and not _PLAIN.fullmatch(value) and value[:1] != "/"
        }
        lines = {line for value in values for line in value.splitlines() if len(line) >= SHORTEST}
        known = sorted(values | lines, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return a text without what looks like a secret."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _FORMS.sub(HIDDEN, text)
        text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
        text = _WITH_USER.sub(_without_user, text)
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
        return _ASSIGNED.sub(_without_value, text)

    def data(self, data: bytes) -> bytes:
        """Return what :meth:`text` does of bytes, in which everything else stays as it is."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def arguments(self, words: Iterable[str]) -> tuple[str, ...]:
        """Return a command line without the values of options that are called like secrets."""
        found: list[str] = []
        hide = False
        for word in words:
            if hide and not word.startswith("--"):
                found.append(HIDDEN)
                hide = False
                continue
            name, equals, value = word.partition("=")
            is_option = name.startswith("-")
            hide = is_option and not equals and is_secret_name(name.lstrip("-"))
            if equals and value and is_secret_name(name.lstrip("-")) and not _PLAIN.fullmatch(value):
                found.append(f"{name}={HIDDEN}")
            else:
                found.append(self.text(word))
        return tuple(found)

    def value(self, name: str, value: object) -> object:
        """Return a parameter, or what it holds, without what is or looks like a secret."""
        if isinstance(value, dict):
            return {key: self.value(key, each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(name, each) for each in value]
        if isinstance(value, str):
            return HIDDEN if value and is_secret_name(name) and not _PLAIN.fullmatch(value) else self.text(value)
        return value


def _without_user(found: re.Match[str]) -> str:
    is_name = ":" not in found[2] and found[1].lower() in {"ssh://", "sftp://", "git+ssh://"}
    return found[0] if is_name else f"{found[1]}{HIDDEN}@"


def _without_value(found: re.Match[str]) -> str:
    value = found["value"]
    bare = value[1:-1] if value[:1] in {'"', "'"} and value[-1:] == value[:1] else value
    if not is_secret_name(found["name"]) or _PLAIN.fullmatch(bare) or bare == HIDDEN:
        return found[0]
    quote = value[:1] if bare is not value else ""
    return f"{found['name']}{found['mark']}{quote}{HIDDEN}{quote}"
