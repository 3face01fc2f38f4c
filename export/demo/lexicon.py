"""The words that fill a word problem's slots, and how Bengali inflects them."""

from __future__ import annotations

from dataclasses import dataclass

_VOWEL_SIGNS = "ািীুূৃেৈোৌ"
_INDEPENDENT_VOWELS = "অআইঈউঊঋএঐওঔ"
_IRREGULAR_GENITIVES = {"মা": "মায়ের", "রং": "রঙের"}


@dataclass(frozen=True, slots=True)
class Noun:
    """A word with its classifier: ``টি`` sticks to the number, a unit such as ``কেজি`` stands apart."""

    text: str
    classifier: str = "টি"

    @property
    def is_measured(self) -> bool:
        """Whether the classifier is a unit (kilograms of rice), not a counter (three mangoes)."""
        return self.classifier not in {"টি", "টা", "খানা", "জন"}


def genitive(word: str) -> str:
    """``রহিম`` -> ``রহিমের``, ``মিনা`` -> ``মিনার``, ``বই`` -> ``বইয়ের``."""
    if word in _IRREGULAR_GENITIVES:
        return _IRREGULAR_GENITIVES[word]
    last = word[-1]
    if last in "ইউঐঔংঃ":
        return word + "য়ের"
    if last in _VOWEL_SIGNS or last in _INDEPENDENT_VOWELS:
        return word + "র"
    return word + "ের"


def accusative(word: str) -> str:
    """``রহিম`` -> ``রহিমকে``."""
    return word + "কে"


def locative(word: str) -> str:
    """``বাজার`` -> ``বাজারে``, ``ঢাকা`` -> ``ঢাকায়``, ``ঝুড়ি`` -> ``ঝুড়িতে``."""
    last = word[-1]
    if last == "া":
        return word + "য়"
    if last in _VOWEL_SIGNS or last in _INDEPENDENT_VOWELS:
        return word + "তে"
    return word + "ে"


CASES = {"র": genitive, "কে": accusative, "তে": locative}


def _nouns(words: str, classifier: str = "টি") -> tuple[Noun, ...]:
    return tuple(Noun(word.replace("_", " "), classifier) for word in words.split())


PERSONS = _nouns(
    "রহিম করিম মিনা রাজু সুমন রিনা তানিয়া সাকিব নাদিয়া ফারহান আয়েশা ইমরান জামাল কামাল হাসান হোসেন সালমা "
    "রুবেল শিউলি মিলন লিপি বাবুল শাহিন পলাশ নিপা তুহিন সোহেল মৌসুমী রতন অনিতা সুজন বিপুল কবির নাসরিন জেসমিন "
    "আরিফ তারেক শাওন রাফি সাদিয়া মাহিন তিথি অর্ণব প্রিয়া দীপক শ্যামল গীতা মালা কেয়া রূপা সোমা বিকাশ অমল "
    "কমল নীলা শান্তা জুঁই মুন্না টুনি পিন্টু মিঠু রিমি সুমি রাশেদ মাসুদ জহির খালেদ নাঈম ফাহিম তামিম লিটন মুশফিক "
    "রোকেয়া ফাতেমা খাদিজা মরিয়ম হালিমা জোবেদা রাবেয়া সুফিয়া জরিনা পারভীন শাবানা ববিতা আলম ইকবাল বশির মনির "
    "রজার জেমস জন মেরি ডেভিড এমা অলিভার সারা টম জেরি পল জেনি অ্যালিস বব হ্যারি এডওয়ার্ড জুলিয়া রেচেল মাইক "
    "স্টিভেন জিল জেক ড্যানি র‍্যান্ডি লুইস এমিলি হেলেন মার্ক কেভিন লরা রায়ান নিক অ্যান্ড্রু ফ্র্যাঙ্ক জেনেট টিনা "
    "দিদি মামা চাচা খালা দাদু নানি বাবা মা শিক্ষক দোকানদার কৃষক জেলে মালি"
)
THINGS = _nouns(
    "আম জাম লিচু কলা কমলা আপেল পেয়ারা কাঁঠাল নারকেল ডাব আনারস লেবু বেগুন কুমড়া লাউ ডিম কেক বিস্কুট চকলেট "
    "লজেন্স মিষ্টি রসগোল্লা সন্দেশ পিঠা শিঙাড়া রুটি কলম পেন্সিল খাতা বই রাবার স্কেল ব্যাগ মার্বেল বেলুন ঘুড়ি "
    "লাটিম পুতুল বল টেনিস_বল ফুটবল ক্রিকেট_বল স্টিকার কার্ড ছবি ডাকটিকিট মুদ্রা ফুল গোলাপ গাঁদা_ফুল গাছ চারা "
    "মাছ মুরগি হাঁস গরু ছাগল ভেড়া পাখি কবুতর খরগোশ বিড়াল জামা শার্ট শাড়ি টুপি মোজা চুড়ি মালা চেয়ার টেবিল "
    "প্লেট গ্লাস কাপ বোতল বালতি ইট টাইলস খেলনা_গাড়ি গল্পের_বই রঙিন_পেন্সিল চাবির_রিং পোস্টার ক্রেয়ন ব্লক "
    "বোতাম পাথর ঝিনুক মোমবাতি ছাতা ঘড়ি বাল্ব কুকি পেস্ট্রি স্যান্ডউইচ পিৎজা ম্যাগাজিন খবরের_কাগজ ভিডিও_গেম"
)
FRUITS = _nouns("আম জাম লিচু কলা কমলা আপেল পেয়ারা কাঁঠাল নারকেল ডাব আনারস লেবু ডালিম আতা বরই নাশপাতি")
STATIONERY = _nouns("কলম পেন্সিল খাতা বই রাবার স্কেল রঙিন_পেন্সিল ডায়েরি মার্কার ফাইল ক্রেয়ন")
TOYS = _nouns("মার্বেল বেলুন ঘুড়ি লাটিম পুতুল বল খেলনা_গাড়ি ব্লক স্টিকার কার্ড টেনিস_বল")
FOODS = _nouns("কেক বিস্কুট চকলেট লজেন্স মিষ্টি রসগোল্লা সন্দেশ পিঠা শিঙাড়া রুটি কুকি পেস্ট্রি স্যান্ডউইচ ডিম")
ANIMALS = _nouns("মুরগি হাঁস গরু ছাগল ভেড়া পাখি কবুতর খরগোশ মাছ বিড়াল কুকুর ঘোড়া মহিষ")
PLANTS = _nouns("আমগাছ নারকেল_গাছ গোলাপ_গাছ চারা গাছ লেবুগাছ সুপারি_গাছ মেহগনি_গাছ কলাগাছ ফুলগাছ")
PEOPLE = _nouns("ছাত্র ছাত্রী শিশু লোক যাত্রী শ্রমিক খেলোয়াড় দর্শক শিক্ষার্থী মেয়ে ছেলে অতিথি কর্মচারী কৃষক", "জন")
GOODS_KG = _nouns("চাল ডাল আটা চিনি আলু পেঁয়াজ রসুন মাছ মাংস সবজি টমেটো লবণ গম ধান আম তুলা", " কেজি")
GOODS_LITRE = _nouns("দুধ তেল পানি জুস কেরোসিন পেট্রোল ডিজেল রং শরবত মধু", " লিটার")
GOODS_METRE = _nouns("কাপড় দড়ি ফিতা তার সুতা পাইপ", " মিটার")
CONTAINERS = _nouns("বাক্স ঝুড়ি প্যাকেট ব্যাগ থলে কার্টন ক্যান বস্তা ট্রে বোয়াম আলমারি তাক ক্রেট টিন")
PLACES = _nouns("বাজার মেলা দোকান স্কুল বাগান মাঠ পার্ক খামার গ্রাম শহর গ্রন্থাগার ঢাকা খুলনা সিলেট বাড়ি হাট")
SHOPS = _nouns("মুদি_দোকান ফলের_দোকান বইয়ের_দোকান বেকারি ফার্মেসি ক্যান্টিন সুপারমার্কেট খেলনার_দোকান কাপড়ের_দোকান")
VEHICLES = _nouns("বাস ট্রেন গাড়ি ট্রাক নৌকা লঞ্চ মোটরসাইকেল সাইকেল রিকশা মাইক্রোবাস অটোরিকশা")
DAYS = _nouns("শনিবার রবিবার সোমবার মঙ্গলবার বুধবার বৃহস্পতিবার শুক্রবার")
COLOURS = _nouns("লাল নীল সবুজ হলুদ সাদা কালো গোলাপি বেগুনি কমলা বাদামি")

CATEGORIES: dict[str, tuple[Noun, ...]] = {
    "person": PERSONS,
    "thing": THINGS,
    "fruit": FRUITS,
    "stationery": STATIONERY,
    "toy": TOYS,
    "food": FOODS,
    "animal": ANIMALS,
    "plant": PLANTS,
    "people": PEOPLE,
    "kg": GOODS_KG,
    "litre": GOODS_LITRE,
    "metre": GOODS_METRE,
    "container": CONTAINERS,
    "place": PLACES,
    "shop": SHOPS,
    "vehicle": VEHICLES,
    "day": DAYS,
    "colour": COLOURS,
}
