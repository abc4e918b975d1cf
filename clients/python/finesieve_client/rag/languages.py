"""Name a language as a prompt does: in English, from its code or its name."""

import re
from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese, with all its diacritics",
    "zh": "Chinese",
}

# Letters of any script, and what stands between words: no place for an instruction.
_NAME = re.compile(r"[^\W\d_](?:[^\W\d_]|[ '()-]){1,39}")


def language_name(language: str) -> str:
    """Return a language's English name for its code, or the name itself; raises ValueError."""
    known = NAMES.get(language.strip().lower())
    if known is None and not _NAME.fullmatch(language.strip()):
        raise ValueError(
            f"the language is {language!r}; write a name such as Vietnamese, or one of the codes "
            + " ".join(NAMES)
        )
    return known or language.strip()
