"""What word vectors are asked: pairs of words, groups of words, and the files in which others keep theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path

from cutaway.ladder.word_geometry import Pair, Question
from cutaway.runs import BadInput


def _words(text: str) -> list[str]:
    return text.split()


def _pairs(text: str) -> list[Pair]:
    return [(first, second) for first, second in (pair.split("/") for pair in _words(text))]


GENDER = _pairs(
    "man/woman men/women king/queen kings/queens father/mother fathers/mothers son/daughter sons/daughters "
    "brother/sister brothers/sisters husband/wife husbands/wives he/she his/her himself/herself boy/girl boys/girls "
    "uncle/aunt prince/princess prophet/prophetess bridegroom/bride manservant/maidservant lion/lioness "
    "grandfather/grandmother nephew/niece gentleman/lady gentlemen/ladies"
)
"""Male and female."""
PLURAL = _pairs(
    "day/days year/years king/kings city/cities town/towns son/sons daughter/daughters house/houses priest/priests "
    "servant/servants tribe/tribes field/fields tree/trees tent/tents man/men woman/women child/children foot/feet "
    "eye/eyes hand/hands name/names nation/nations horse/horses brother/brothers sister/sisters wall/walls "
    "stone/stones object/objects class/classes method/methods function/functions value/values argument/arguments "
    "statement/statements string/strings module/modules"
)
"""One and several."""
PAST = _pairs(
    "come/came go/went see/saw say/said give/gave take/took make/made hear/heard send/sent know/knew keep/kept "
    "write/wrote fall/fell stand/stood bring/brought find/found sit/sat rise/rose begin/began turn/turned call/called "
    "answer/answered"
)
"""Now and then."""
PEOPLES = _pairs(
    "egypt/egyptians israel/israelites moab/moabites ammon/ammonites midian/midianites canaan/canaanites "
    "chaldea/chaldeans assyria/assyrians edom/edomites judah/jews ethiopia/ethiopians samaria/samaritans "
    "rome/romans greece/greeks"
)
"""Lands and who lives there."""
DEGREES = _pairs(
    "great/greater strong/stronger high/higher small/smaller good/better old/older young/younger long/longer "
    "wise/wiser large/larger"
)
"""An adjective and its comparative."""

ANALOGIES: Mapping[str, Sequence[Pair]] = {
    "male, female": GENDER,
    "one, several": PLURAL,
    "now, then": PAST,
    "land, people": PEOPLES,
    "much, more": DEGREES,
}
"""A list of our own, of words that the packages' texts hold: from every two pairs of a group come two questions."""

WEAT: Mapping[str, tuple[tuple[str, Sequence[str]], ...]] = {
    "music and weapons, pleasant and unpleasant": (
        ("music", _words("harp harps trumpet cymbals pipe horn song songs dance bells flute violin piano organ")),
        ("weapons", _words("sword swords spear spears bow arrows shield knife dagger axe gun pistol sling club")),
        (
            "pleasant",
            _words("love peace joy glad happy gift honour heaven pleasure blessing beautiful good hope sweet"),
        ),
        ("unpleasant", _words("hate death evil pain sorrow trouble fear curse destruction cruel shame bitter grief")),
    ),
    "men and women, rule and home": (
        ("men", _words("he him his man men son father brother king husband boy")),
        ("women", _words("she her hers woman women daughter mother sister queen wife girl")),
        ("rule", _words("war army battle captain throne kingdom rule ruler judge power")),
        ("home", _words("house home children family parents birth marriage relations bread bed")),
    ),
}
"""Two groups of words, and two attributes that they may go with. The first is test 2 of Caliskan et al. (2017), with
the words that old texts have; the second is made like their test 6."""


def questions_of(pairs: Sequence[Pair]) -> list[Question]:
    """Every two pairs as a question, both ways round."""
    return [(*first, *second) for first, second in permutations(pairs, 2)]


def read_questions(path: Path) -> dict[str, list[Question]]:
    """The questions of a file like word2vec's questions-words.txt, by section, in small letters.

    A line is four words, or ": name" where a section begins.

    Raises:
        BadInput: it cannot be read, or a line is neither.
    """
    sections: dict[str, list[Question]] = {}
    questions = sections.setdefault("all", [])
    for number, line in _lines(path):
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
            continue
        words = line.lower().split()
        if len(words) != 4:
            raise BadInput(f'{path} line {number} has {len(words)} words; an analogy has four, a section ": name"')
        questions.append((words[0], words[1], words[2], words[3]))
    return {name: questions for name, questions in sections.items() if questions}


def read_ratings(path: Path) -> list[tuple[str, str, float]]:
    """Pairs of words and how alike people found them, from lines of two words and a number between tabs.

    Raises:
        BadInput: it cannot be read, or a line is something else.
    """
    rated: list[tuple[str, str, float]] = []
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        try:
            first, second, rating = line.split("\t")
            rated.append((first.lower(), second.lower(), float(rating)))
        except ValueError:
            raise BadInput(f"{path} line {number} is not two words and a number between tabs") from None
    return rated


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); give a text file") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte offset {error.start}); save it as UTF-8") from None
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
