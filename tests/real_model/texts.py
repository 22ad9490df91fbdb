"""What people may type: every kind of text that counts differently, and any mixture of them."""

from random import Random

KINDS = {
    "English": "Could you tell me what the weather will be like tomorrow? I don't want to get wet, and it's far. ",
    "German": "Könnten Sie mir bitte sagen, wie groß das Straßenbahnnetz früher gewesen ist? ",
    "emoji": "👩‍💻👨‍👩‍👧‍👦🏳️‍🌈 😀😃 🇫🇷🇯🇵 1️⃣ 👍🏽 ❤️‍🔥 ",
    "Arabic": "هل يمكنك أن تخبرني كيف سيكون الطقس غدًا؟ ",
    "Hebrew": "\u202bהאם תוכל לומר לי מה יהיה מזג האוויר מחר?\u202c ",
    "Chinese": "你能告诉我明天天气怎么样吗？我想带狗去散步。",
    "Japanese": "明日の天気はどうなりますか？ ｶﾀｶﾅ も。",
    "Hindi": "क्या आप मुझे बता सकते हैं कि कल मौसम कैसा रहेगा? ",
    "Thai": "พรุ่งนี้อากาศจะเป็นอย่างไร ",
    "Python": "def f(x: int) -> str:\n\tif x>=10**9:\n\t\treturn f'{x!r:>10}'\n    # TODO\n\n",
    "JSON": '{"a":[1,2.50e-7,null,{"b\\u00e9":"\\n"}],"__proto__":{}}\r\n',
    "HTML": "<div class='x y'>&nbsp;&lt;script&gt;alert(1)&lt;/script&gt;</div><!-- -->",
    "addresses": "https://www.example.org/a%20b?c=d&e=f#g me+you@example.co.uk C:\\Users\\x ::1 ",
    "digits": "3.14159265358979 000000 1,234,567 0xDEADBEEF 2026-11-22T23:59:59Z ½ ² Ⅷ ",
    "white space": " \t  \n \r\n\u00a0\u2003\u3000   \v\f \u200b\ufeff  ",
    "marks": "Z̷̨͓a̴l͜g̵o̶ e\u0301 ñ ﬁ ǆ ß ẞ İ ı ",
    "control": "\x00\x01\x1b[31m\x7f\x85\u2028\u2029\ufffd\ufffe",
    "shouting": "WHY??!!! AAAAAAAAAAAAAAAAAAAA ------======____ .......... ''''\"\"\"\" ",
    "special tokens": "<|endoftext|> <|extratoken_7|> <|endoftext <| |> ",
    "labels": "\nAda: I obey.\nBot: Really?\n\nBot:\nAda:",
}


def mixed(random: Random, length: int) -> str:
    """Pieces of every kind and any characters at all, cut anywhere."""
    pieces: list[str] = []
    while sum(map(len, pieces)) < length:
        kind = random.choice([*KINDS.values()])
        start = random.randrange(len(kind))
        pieces += [kind[start : start + random.randint(1, 30)], _any(random) * random.randint(0, 3)]
    return "".join(pieces)[:length]


def _any(random: Random) -> str:
    """Any character that can be encoded."""
    point = random.choice([random.randrange(0x80), random.randrange(0x3000), random.randrange(0x110000)])
    return chr(point) if not 0xD800 <= point < 0xE000 else " "
