"""Takes secrets out of what is recorded: arguments, URLs, patches, captured output.

What may be recorded is listed where that is possible (variables of the environment, kinds of source files).  Elsewhere
three things betray a secret: that the environment holds the same text under a name that says secret, that the text
before it calls it one, and that it has a form in which services hand out credentials.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from dvtool import urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HIDDEN: Final = "[redacted]"
SHORTEST: Final = 6
"""Values of secret variables that are shorter are words, whose loss would make everything else unreadable."""

_PLACES: Final = frozenset({"PWD", "OLDPWD"})
_SIGNING_IN: Final = frozenset({"-u", "--user", "-U", "--proxy-user"})
"""Options of programs like curl that a name and a password follow."""
_WORD: Final = (
    r"pass(?:word|wd|phrase|code)|secret|token|api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|private[_-]?key"
    r"|auth(?:orization)?|credentials?|bearer|session[_-]?key|signature|sas|cookie|client[_-]?secret|account[_-]?key"
    r"|encryption[_-]?key|signing[_-]?key|webhook"
)
_NAME: Final = re.compile(rf"(?:^|[^a-z0-9]|_)(?:{_WORD})s?(?:$|[^a-z0-9]|_)|passw|secret|token|apikey", re.IGNORECASE)
_HOLDS_WORD: Final = re.compile(_WORD, re.IGNORECASE)
_HARMLESS: Final = re.compile(
    r"(?:max|min|num|n|no|pad|eos|bos|unk|sep|cls|mask|special|added|new|per|total|out|in|image|prompt|completion)"
    r"[_-]?(?:new[_-]?)?tokens?|tokens?[_-]?(?:per[_-]?\w+|count|s|limit|len|length|type|types|size|dim|num|dropout)"
    r"|\w*tokeni[sz]\w*|\w*tokens?[_-]?(?:type[_-]?)?ids?|sep[_-]?token|secretary"
    r"|(?!\w*(?:api|auth|access|refresh|secret|session|bot|user|id))\w*tokens",
    re.IGNORECASE,
)
"""Words of machine learning that look like those of secrets."""

FORMS: Final = (
    (
        ("PRIVATE KEY",),
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    (
        ("AKIA", "ASIA", "AGPA", "AIDA", "AROA", "ANPA", "ANVA"),
        r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}\b",  # access keys of AWS
    ),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}+"),  # GitHub
    (("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{20,}+"),
    (("glpat-",), r"\bglpat-[A-Za-z0-9_-]{16,}+"),  # GitLab
    (("hf_",), r"\bhf_[A-Za-z0-9]{20,}+"),  # Hugging Face
    # OpenAI, Anthropic.  Names of classes in HTML begin like this as well, but have no digits.
    (("sk-",), r"\bsk-(?=[A-Za-z_-]{0,60}[0-9])[A-Za-z0-9_-]{20,}+"),
    (("_live_", "_test_"), r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}+"),  # Stripe
    (("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}+"),  # Slack
    (("hooks.slack.com",), r"https://hooks\.slack\.com/[A-Za-z0-9/_-]++"),
    (("AIza",), r"\bAIza[A-Za-z0-9_-]{35}"),  # Google
    (("ya29.",), r"\bya29\.[A-Za-z0-9_-]{20,}+"),
    (("GOCSPX-",), r"\bGOCSPX-[A-Za-z0-9_-]{20,}+"),
    (("npm_",), r"\bnpm_[A-Za-z0-9]{30,}+"),
    (("pypi-",), r"\bpypi-[A-Za-z0-9_-]{32,}+"),
    (("dop_v1_",), r"\bdop_v1_[a-f0-9]{32,}+"),  # DigitalOcean
    (("SG.",), r"\bSG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+"),  # SendGrid
    (("eyJ",), r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+"),  # JSON Web Tokens
    (("dv-identity-",), r"\bdv-identity-[A-Za-z0-9]{20,}+"),
    (("AGE-SECRET-KEY-",), r"\bAGE-SECRET-KEY-1[A-Z0-9]{20,}+"),
)
"""In which forms services hand out credentials, and texts of which each holds one: most texts hold none.

Whoever writes a program chooses what is looked at, and lines of megabytes are; so no pattern here may try the same
letters again and again: what repeats is possessive, or begins only where a word does.
"""
_FORMS: Final = tuple((marks, re.compile(form)) for marks, form in FORMS)
_BEARER: Final = re.compile(
    r"(?i)\b(bearer|basic)(\s++)((?=[^\s\"']{0,200}[0-9=])[a-z0-9+/=._~-]{8,}+|[a-z0-9+/=._~-]{20,}+)"
)
_NAMED: Final = re.compile(r"""(?<![\w.-])(?P<name>[\w.-]++)(?P<mark>["']?+[ \t]*+(?:=>|:=|[=:])[ \t]*+)""")
_VALUE: Final = re.compile(
    r""""(?:[^"\\\n]|\\.)++"?+|'(?:[^'\\\n]|\\.)++'?+|(?!\[redacted)(?:[^\s"',;&)\]}]{4,}+|"""
    r"""(?=\S{0,200}[0-9])[^\s"'&)\]}]{6,}+)"""
)
_LINE: Final = re.compile(r"""(?!\[redacted)[^\n"']++""")
_OPTION: Final = re.compile(r"""(?<![\w-])(?P<name>--?[\w-]++)(?P<mark>[ \t]++)(?!-)""")
_WITH_USER: Final = re.compile(r"""://([^/\s@"']++|[^/\s@"':]*+:(?![0-9]{1,5}/)[^\s@"']{1,200}+)@""")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*\Z", re.IGNORECASE)
_QUERY: Final = re.compile(r"""([?&])([\w.-]++)=([^&\s"'#]++)""")
_SIGNED: Final = re.compile(r"(?:.*[_-])?sig|x-amz-.*|x-goog-.*", re.IGNORECASE)
_PLAIN: Final = re.compile(
    r"(?i)true|false|none|null|yes|no|on|off|-?[0-9.]{1,12}|os\.environ.*|getenv.*|\$\{?\w+\}?|[a-z_.]+\([\w.]*|<.*>"
    r"|(?:self|args|opts?|options|cfg|config|conf|settings|params|env|ctx)(?:\.[a-z_]\w*)+"
    r"|str|bytes|int|bool|float|object|(?:optional|union|list|dict)\[.*"
)
"""Values that are no secrets, whatever they are called."""
_SWITCH: Final = re.compile(r"(?i)|true|false|none|null|yes|no|on|off|auto")
_PROSE: Final = re.compile(
    r"[A-Z_]+|(?:must|cannot|should|option|argument|flag|requires|needs|will|when|with|from|that|this|value|file)"
)
"""What stands behind the name of an option in a sentence."""
_NAME_LENGTH: Final = 200
"""Letters at the end of a name by which it is judged."""


def is_secret_name(name: str) -> bool:
    """Return whether what is called so is likely to be a secret."""
    name = name[-_NAME_LENGTH:]
    if _HARMLESS.fullmatch(name):
        return False
    return _NAME.search(name) is not None or urls.names_credential(name)


def _says_secret(name: str) -> bool:
    """Return whether text that is assigned to this name is a secret; stricter, because anything may stand in a text."""
    return _HOLDS_WORD.search(name[-_NAME_LENGTH:]) is not None and is_secret_name(name.lstrip("-"))


class Redactor:
    """Takes secrets out of texts."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Learn the values of variables with secret names, which are then found wherever they stand."""
        values = {
            value
            for name, value in (environment or {}).items()
            if is_secret_name(name) and len(value) >= SHORTEST and name not in _PLACES
            if not _SWITCH.fullmatch(value) and not _is_place(value)
        }
        lines = {line for value in values for line in value.splitlines() if len(line) >= SHORTEST}
        known = values | lines
        for value in tuple(known):
            known |= {quote(value, safe="", errors="surrogateescape"), json.dumps(value)[1:-1], repr(value)[1:-1]}
        self._known = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without what looks like a secret."""
        for value in self._known:
            text = text.replace(value, HIDDEN)
        for marks, form in _FORMS:
            if any(mark in text for mark in marks):
                text = form.sub(HIDDEN, text)
        text = _BEARER.sub(rf"\1\2{HIDDEN}", text)
        text = _WITH_USER.sub(_without_user, text)
        text = _QUERY.sub(_without_answer, text)
        if _HOLDS_WORD.search(text) is None:
            return text
        return _without_values(_NAMED, _without_values(_OPTION, text))

    def data(self, data: bytes) -> bytes:
        """Return what :meth:`text` does of bytes, in which everything else stays as it is."""
        return self.text(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def arguments(self, words: Iterable[str]) -> tuple[str, ...]:
        """Return a command line without the values of options that are called like secrets."""
        found: list[str] = []
        hide = hide_password = False
        for word in words:
            if hide and not word.startswith("--"):
                found.append(HIDDEN)
                hide = False
                continue
            user, colon, password = word.partition(":")
            if hide_password and colon and not password.isdigit():
                found.append(f"{self.text(user)}:{HIDDEN}")
                hide_password = False
                continue
            name, equals, value = word.partition("=")
            is_option = name.startswith("-")
            hide = is_option and not equals and is_secret_name(name.lstrip("-"))
            hide_password = word in _SIGNING_IN
            if equals and is_secret_name(name.lstrip("-")) and not _SWITCH.fullmatch(value):
                found.append(f"{self.text(name)}={HIDDEN}")
            else:
                found.append(self.text(word))
        return tuple(found)

    def value(self, name: str, value: object) -> object:
        """Return a parameter, or what it holds, without what is or looks like a secret."""
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(str(key), each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(name, each) for each in value]
        if isinstance(value, str):
            return HIDDEN if is_secret_name(name) and not _SWITCH.fullmatch(value) else self.text(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and _says_secret(name):
            return HIDDEN
        return value


def _is_place(value: str) -> bool:
    """Return whether a value is no secret, but a file that may hold one."""
    return value.startswith("/") and os.path.lexists(value)


def _without_user(found: re.Match[str]) -> str:
    scheme = _SCHEME.search(found.string[max(0, found.start() - 40) : found.start()])
    if scheme is None:
        return found[0]
    is_name = ":" not in found[1] and scheme[0].lower() in {"ssh", "sftp", "git+ssh"}
    return found[0] if is_name else f"://{HIDDEN}@"


def _without_answer(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}={HIDDEN}" if _says_secret(found[2]) or _SIGNED.fullmatch(found[2]) else found[0]


def _without_values(names: re.Pattern[str], text: str) -> str:
    """Return a text without the values behind those names that say that they are secrets."""
    parts: list[str] = []
    at = 0
    for found in names.finditer(text):
        name = found["name"]
        if found.start() < at or not _says_secret(name):
            continue
        pattern = _LINE if names is _NAMED and "authorization" in name.lower() else _VALUE
        value = pattern.match(text, found.end())
        if value is None:
            continue
        quoted = value[0][:1] if value[0][:1] in {'"', "'"} else ""
        bare = value[0][len(quoted) :].removesuffix(quoted) if quoted else value[0]
        # What is passed over here is looked at again from the next name on, so it must not be long.
        is_short = len(bare) <= _NAME_LENGTH
        is_prose = names is _OPTION and _PROSE.fullmatch(bare) is not None
        if is_short and bare[-1:] in {":", "="} and _says_secret(bare[:-1]):
            continue  # the name of the next one
        if is_short and (is_prose or _PLAIN.fullmatch(bare) or bare in {name, HIDDEN}):
            continue
        parts += [text[at : value.start()], quoted, HIDDEN, quoted if value[0][1:].endswith(quoted) else ""]
        at = value.end()
    return "".join([*parts, text[at:]])
