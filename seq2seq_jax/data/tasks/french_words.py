"""The lexicon of the French task: words, their inflection, and what goes with what.

Rules cover the regular forms; tables hold the irregular ones. Persons are numbered 0..5: je, tu,
il/elle, nous, vous, ils/elles. Left out on purpose, so that a French sentence has one reading:
words with an aspirated h, nouns whose plural equals the singular, and nouns of both genders that
start with a vowel.
"""

from typing import NamedTuple

VOWELS = tuple("aeiouâàéèêîôûœh")


class Noun(NamedTuple):
    kind: str  # person | worker | animal | food | drink | text | clothes | thing | opening | place
    feminine: bool
    french: tuple[str, str]  # singular, plural
    english: tuple[str, str]
    mass: bool  # no plural, no article un/une


class Adjective(NamedTuple):
    french: tuple[tuple[str, str], tuple[str, str]]  # [feminine][plural]
    english: str
    before: bool  # stands before its noun in French
    kinds: tuple[str, ...]  # nouns that it goes with


class Verb(NamedTuple):
    forms: tuple[str, ...]  # by person
    infinitive: str
    english: tuple[str, ...]  # by person
    base: str
    order: str  # inversion and "not" as with `be`, or with `do`
    objects: tuple[str, ...]  # kinds of nouns; empty: intransitive
    animal: bool  # animals do it too


def _french_plural(word: str) -> str:
    if word.endswith(("s", "x")):
        return word
    if word.endswith(("eau", "eu")) and word != "bleu":
        return word + "x"
    return word[:-2] + "aux" if word.endswith("al") else word + "s"


_ENGLISH_PLURALS = {"man": "men", "woman": "women", "child": "children", "knife": "knives"}


def english_s(word: str) -> str:
    """The -s form of a noun or of a verb; of the first word where there are several."""
    head, *rest = word.split()
    if head.endswith(("s", "sh", "ch", "x", "o")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "s"
    return " ".join([head, *rest])


_FEMININES = {
    "blanc": "blanche", "gros": "grosse", "beau": "belle", "nouveau": "nouvelle",
    "gentil": "gentille", "bon": "bonne", "long": "longue",
}  # fmt: skip


def _feminine(adjective: str) -> str:
    if adjective in _FEMININES:
        return _FEMININES[adjective]
    for masculine, feminine in (("eux", "euse"), ("f", "ve"), ("er", "ère"), ("ien", "ienne")):
        if adjective.endswith(masculine):
            return adjective.removesuffix(masculine) + feminine
    return adjective if adjective.endswith("e") else adjective + "e"


def _nouns() -> list[Noun]:
    nouns = []
    for line in _NOUNS.split("\n"):
        kind, _, entries = line.partition(":")
        for entry in filter(None, map(str.strip, entries.split(","))):
            gender, french, english = entry.split(" ", 2)
            mass = kind in ("food", "drink") and english.endswith("-")
            english = english.removesuffix("-")
            plural = _ENGLISH_PLURALS.get(english, english_s(english))
            forms = (french, _french_plural(french)), (english, plural)
            nouns.append(Noun(kind, gender == "f", *forms, mass))
    return nouns


def _adjectives() -> list[Adjective]:
    adjectives = []
    for line in filter(None, _ADJECTIVES.split("\n")):
        rule, _, entries = line.partition(":")
        place, *kinds = rule.split()
        for entry in filter(None, map(str.strip, entries.split(","))):
            french, english = entry.split(" ")
            feminine = _feminine(french)
            forms = (french, _french_plural(french)), (feminine, feminine + "s")
            adjectives.append(Adjective(forms, english, place == "before", tuple(kinds)))
    return adjectives


def _conjugate(french: str) -> tuple[tuple[str, ...], str]:
    """(six forms, infinitive) of `infinitive`, `infinitive/strong stem`, or of seven words."""
    words = french.split()
    if len(words) == 7:
        return tuple(words[1:]), words[0]
    infinitive, _, strong = words[0].partition("/")
    stem = infinitive[:-2]
    if infinitive.endswith("ir"):
        return tuple(stem + e for e in ("is", "is", "it", "issons", "issez", "issent")), infinitive
    strong = strong or stem
    we = stem + "eons" if stem.endswith("g") else stem + "ons"
    return (
        strong + "e", strong + "es", strong + "e", we, stem + "ez", strong + "ent",
    ), infinitive  # fmt: skip


def _verb(french: str, english: str, objects: tuple[str, ...] = (), animal: bool = False) -> Verb:
    forms, infinitive = _conjugate(french)
    third = {"have": "has"}.get(english, english_s(english))
    persons = tuple(third if person == 2 else english for person in range(6))
    return Verb(forms, infinitive, persons, english, "do", objects, animal)


def _verbs() -> list[Verb]:
    verbs = []
    for line in filter(None, _VERBS.split("\n")):
        french, english, *objects = map(str.strip, line.split("|"))
        kinds = tuple(objects[0].split()) if objects else ()
        verbs.append(_verb(french, english.removesuffix("*").strip(), kinds, "*" in english))
    return verbs


_NOUNS = """\
worker: m étudiant student, f étudiante student, m médecin doctor, m professeur teacher, \
f professeure teacher, m acteur actor, f actrice actor, m chanteur singer, f chanteuse singer, \
m avocat lawyer, f avocate lawyer, m infirmier nurse, f infirmière nurse, m ingénieur engineer, \
f ingénieure engineer, m cuisinier cook, f cuisinière cook, m journaliste journalist, \
f journaliste journalist, m écrivain writer
person: m père father, f mère mother, m frère brother, f sœur sister, m ami friend, \
f amie friend, m voisin neighbor, f voisine neighbor, m garçon boy, f fille girl, m homme man, \
f femme woman, m enfant child
animal: m chien dog, m chat cat, m cheval horse, m oiseau bird, m animal animal
food: m pain bread-, m fromage cheese-, f viande meat-, f soupe soup-, m chocolat chocolate-, \
f pomme apple, f orange orange, m œuf egg, m gâteau cake, f banane banana
drink: f eau water-, m lait milk-, m café coffee-, m thé tea-, f bière beer-
text: m livre book, f lettre letter, m journal newspaper
clothes: m chapeau hat, f robe dress, f chemise shirt
thing: f voiture car, f table table, f chaise chair, m vélo bike, m couteau knife, f clé key, \
m cadeau gift, m téléphone phone
opening: f porte door, f fenêtre window, f boîte box
place: f maison house, f école school, m jardin garden, m parc park, f gare station, \
m hôtel hotel, m restaurant restaurant, m magasin store, f ville city, m hôpital hospital
"""

_ADJECTIVES = """\
before animal thing clothes opening place: grand big, gros big
before person worker: grand tall
before person worker animal thing clothes opening place: petit small
before person worker animal: jeune young
before food drink text: bon good, mauvais bad
before person animal clothes thing place text: joli pretty
before clothes thing place text: nouveau new
after animal clothes thing opening: rouge red, noir black, blanc white, vert green, bleu blue
after person worker: content happy, triste sad, malade ill, riche rich, gentil kind, \
intelligent intelligent, fatigué tired, français french, anglais english, américain american
after clothes thing text place: cher expensive, ancien old
after drink food: chaud hot, froid cold
after clothes thing: propre clean, sale dirty
"""

_VERBS = """\
manger | eat * | food
boire bois bois boit buvons buvez boivent | drink * | drink
lire lis lis lit lisons lisez lisent | read | text
écrire écris écris écrit écrivons écrivez écrivent | write | text
aimer | like | food drink person worker animal text clothes place
détester | hate | food drink animal clothes
voir vois vois voit voyons voyez voient | see * | person worker animal thing place
chercher | look for * | person worker animal thing clothes text
regarder | look at * | person worker animal thing clothes
attendre attends attends attend attendons attendez attendent | wait for | person worker
acheter/achèt | buy | food drink text clothes thing
vendre vends vends vend vendons vendez vendent | sell | food clothes thing animal
porter | wear | clothes
connaître connais connais connaît connaissons connaissez connaissent | know | person worker place
aider | help | person worker
choisir | choose | food text clothes thing
ouvrir ouvre ouvres ouvre ouvrons ouvrez ouvrent | open | opening
fermer | close | opening
dormir dors dors dort dormons dormez dorment | sleep *
courir cours cours court courons courez courent | run *
travailler | work
chanter | sing
danser | dance
marcher | walk *
parler | speak
rire ris ris rit rions riez rient | laugh
"""

NOUNS = _nouns()
ADJECTIVES = _adjectives()
VERBS = _verbs()

BE = Verb(
    ("suis", "es", "est", "sommes", "êtes", "sont"), "être",
    ("am", "are", "is", "are", "are", "are"), "be", "be", (), True,
)  # fmt: skip
HAVE = _verb("avoir ai as a avons avez ont", "have", ("thing", "animal", "clothes", "text"))
FEEL = BE._replace(forms=HAVE.forms, infinitive="avoir")  # avoir faim: to be hungry
GO = _verb("aller vais vas va allons allez vont", "go", (), True)
GIVE = _verb("donner", "give", ("text", "clothes", "thing", "food"))
WANT = _verb("vouloir veux veux veut voulons voulez veulent", "want")
CAN = Verb(
    ("peux", "peux", "peut", "pouvons", "pouvez", "peuvent"), "pouvoir", ("can",) * 6, "can", "be",
    (), False,
)  # fmt: skip
SAYING = (
    _verb("penser", "think"),
    _verb("savoir sais sais sait savons savez savent", "know"),
    _verb("dire dis dis dit disons dites disent", "say"),
)
FEELINGS = ("faim hungry", "soif thirsty", "froid cold", "chaud hot", "peur afraid", "raison right")
NAMES = ("paul m", "marie f", "pierre m", "sophie f", "thomas m", "julie f")
NUMBERS = (
    "deux two", "trois three", "quatre four", "cinq five", "six six", "sept seven", "dix ten",
)  # fmt: skip
AGES = (*NUMBERS[3:], "douze twelve", "quinze fifteen", "vingt twenty", "trente thirty")
FREQUENCY = ("souvent often", "toujours always", "parfois sometimes", "rarement rarely")
DEGREE = ("très very", "trop too", "assez quite", "vraiment really")
MANNER = ("bien well", "mal badly", "lentement slowly", "vite quickly")
TIMES = (
    "maintenant=now", "aujourd'hui=today", "le=in_the matin=morning", "ce=this soir=evening",
    "chaque=every jour=day", "le=on dimanche=sundays",
)  # fmt: skip
PREPOSITIONS = ("dans in", "devant in_front_of", "derrière behind", "près_de near", "à at")
COORDINATING = ("et and", "mais but", "donc so")
SUBORDINATING = ("parce_que because", "quand when", "si if", "pendant_que while")
QUESTIONS = ("pourquoi why", "quand when", "comment how", "où where")
