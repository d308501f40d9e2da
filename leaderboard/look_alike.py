"""Names that a reader takes for one another: by case, by look-alike letters of other scripts, or with nothing to see.

Two names look alike if their skeletons are equal: brought to NFKC and to one case, letters of other scripts replaced by
the Latin letters or digits that they look like, rn and vv by m and w, accents, spaces and dashes left out.
Source of the table: Unicode Technical Standard 39, confusables.txt, its single letters of the basic plane.
"""

from __future__ import annotations

import unicodedata

_LOOK_ALIKES = {
    "2": "ƨϩᒿꙅꛯꝛ",
    "3": "ȝɜʒзӡⳍꝫ",
    "4": "Ꮞ",
    "5": "ƽ",
    "6": "бᏮⳓ",
    "8": "ȣ৪੪",
    "9": "৭੧୨൭ⳋꝯ",
    "a": "ɑαаᎪᗅꓮ",
    "b": "ƅβвьᏏᏴᑲᖯᗷꓐꞵ",
    "c": "σсᏟᴄⲥꓚ",
    "d": "ԁᎠᏧᑯᗞᗪꓒꓓ",
    "e": "εеҽᎬⴹꓰꬲ",
    "f": "ϝքᖴẝꓝꞙꬵ",
    "g": "ƍɡԍցᏀᏳᶃꓖ",
    "h": "ηнһհᎻᏂᕼⲏꓧ",
    "i": "ıɩɪιіӏᎥꙇ",
    "j": "ʝϳјᎫᒍꓙ",
    "k": "κкᏦᛕⲕꓗ",
    "l": "ǀ۱Ꮮᒪᛁⲓⳑⵏꓡꓲ",
    "m": "μϻмᎷᗰᛖⲙꓟ",
    "n": "νոռⲛꓠ",
    "o": "οоօ۵०০੦૦ଠ୦௦౦೦ഠ൦๐໐ဝ၀ჿዐᴏᴑⲟⵔ〇ꓳꬽ",
    "p": "ρрᏢᑭⲣꓑ",
    "q": "ԛգզⵕ",
    "r": "ʀгᎡᎱᏒᖇᴦⲅꓣꭇꭈ",
    "s": "ѕտᏕᏚꓢꜱ",
    "t": "τтᎢⲧꓔ",
    "u": "ʋυսሀᑌᴜꓴꞟꭎꭒ",
    "v": "ѵ۷Ꮩᐯᴠⴸꓦꛟ",
    "w": "ɯѡԝաᎳᏔᴡꓪ",
    "x": "χхᕁᕽᚷⲭⵝꓫꭓ",
    "y": "ɣʏγуүყᎩᎽᶌỿⲩꓬꭚ",
    "z": "ζᏃᴢꓜ",
}
"""Letter or digit to the letters of other scripts that look like it, after NFKC and casefolding."""
_MERGED = str.maketrans({"0": "o", "1": "l", "i": "l"})
_LETTERS = str.maketrans({other: latin for latin, others in _LOOK_ALIKES.items() for other in others})
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"
"""Counted as letters or signs, and drawn as nothing."""


def skeleton(name: str) -> str:
    """What two names have in common that look alike.

    >>> skeleton("GKC") == skeleton("gkс") == skeleton("ｇ k-ċ")
    True
    >>> len({skeleton("gkc"), skeleton("gkc-2"), skeleton("gkc+")})
    3
    """
    seen = "".join(c for c in name if c not in _BLANK)
    plain = unicodedata.normalize("NFKC", seen).casefold().translate(_LETTERS)
    apart = unicodedata.normalize("NFD", plain).translate(_LETTERS).translate(_MERGED)
    kept = (c for c in apart if unicodedata.category(c)[0] not in "CMZ" and unicodedata.category(c) not in ("Pc", "Pd"))
    return "".join(kept).replace("rn", "m").replace("vv", "w")


def is_blank(name: str) -> bool:
    """Whether a name has no letter or digit that can be seen.

    >>> is_blank("\u3164"), is_blank(" - "), is_blank("犬")
    (True, True, False)
    """
    return not any(unicodedata.category(c)[0] in "LN" and c not in _BLANK for c in name)
