"""A small synchronous grammar: French clauses and sentences, each with its English and the links.

Part letters of the clause rules: W question word, Q est-ce que, S subject, N ne, K clitic object,
V finite verb, P pas / jamais / plus, A adverb of frequency, C complement. The French order is
always W Q S N K V P A C; the English one depends on the verb, the negation and the question.

Links worth knowing (the tests spell them out):
- words that a rule gives as one unit are linked all to all: `parce que` - because;
- a noun of profession after être has no article in French, so it is linked with both English
  words: `étudiant` - a, `étudiant` - student;
- `ne` - do/does and `pas` - not; with be, with can and in questions both `ne` and `pas` - not;
  `ne` and `jamais` - never; `ne` and `plus` - no longer;
- `est-ce que` - the English auxiliary in front (do, does; am, is, are, can: the verb as well);
- the article before a thing owned is linked with `'s`, as `de` is: `le chien de marie` - marie 's
  dog; a generic article with its noun: `j' aime le pain` - i like bread;
- an elided or contracted word keeps all of its links: `du` - the in `le chien du médecin`.
"""

from typing import NamedTuple

from seq2seq_jax.data.tasks import french_words as words
from seq2seq_jax.data.tasks.phrases import EMPTY, Phrase, compose, concat, phrase
from seq2seq_jax.data.tasks.sampling import Draw

PRONOUNS = (
    ("je", "i", 0), ("tu", "you", 1), ("il", "he", 2), ("elle", "she", 2), ("nous", "we", 3),
    ("vous", "you", 4), ("ils", "they", 5), ("elles", "they", 5),
)  # fmt: skip
CLITICS = (("me", "me", 0), ("te", "you", 1), ("nous", "us", 3), ("vous", "you", 4))
DETERMINERS = {  # masculine, feminine, plural
    "the": (("le", "the"), ("la", "the"), ("les", "the")),
    "a": (("un", "a"), ("une", "a"), ("des", "some")),
    "some": (("de le", "some"), ("de la", "some"), ("des", "some")),
    "this": (("ce", "this"), ("cette", "this"), ("ces", "these")),
    "my": (("mon", "my"), ("ma", "my"), ("mes", "my")),
    "your": (("ton", "your"), ("ta", "your"), ("tes", "your")),
    "our": (("notre", "our"), ("notre", "our"), ("nos", "our")),
    "Your": (("votre", "your"), ("votre", "your"), ("vos", "your")),
    "their": (("leur", "their"), ("leur", "their"), ("leurs", "their")),
    "his": (("son", "his"), ("sa", "his"), ("ses", "his")),
    "her": (("son", "her"), ("sa", "her"), ("ses", "her")),
}  # fmt: skip
PREDICATES = (
    ("profession",) * 6 + ("adjective",) * 4 + ("place",) * 2 + ("it",) + ("feeling",) * 3
    + ("age",) + ("thing",) * 2 + ("have",) * 2 + ("action",) * 10 + ("go",) + ("give",)
    + ("can",) * 2 + ("want",) * 2
)  # fmt: skip
GENERIC = ("food", "drink", "animal")  # `j' aime le pain`: no English article


class Subject(NamedTuple):
    phrase: Phrase
    person: int  # 0..5
    feminine: bool = False
    plural: bool = False
    kind: str = "person"


class Predicate(NamedTuple):
    verb: words.Verb
    complement: Phrase = EMPTY
    clitic: Phrase = EMPTY
    adverb: bool = True  # an adverb of frequency makes sense


def _entry(line: str) -> Phrase:
    """`dans in`, or `le=in_the matin=morning` word by word; an underscore is a space."""
    units = line.split() if "=" in line else [line.replace(" ", "=")]
    return concat(*(phrase(*unit.replace("_", " ").split("=")) for unit in units))


def _of_kind(*kinds: str) -> tuple[words.Noun, ...]:
    return tuple(noun for noun in words.NOUNS if noun.kind in kinds)


NOUNS = {kind: _of_kind(kind) for kind in {noun.kind: None for noun in words.NOUNS}}
PEOPLE, FAMILY = _of_kind("person", "worker"), _of_kind("person")
THINGS = _of_kind("animal", "clothes", "thing", "text", "place")
BEFORE = {k: [a for a in words.ADJECTIVES if a.before and k in a.kinds] for k in NOUNS}
AFTER = {k: [a for a in words.ADJECTIVES if not a.before and k in a.kinds] for k in NOUNS}
ANIMAL_VERBS = [verb for verb in words.VERBS if verb.animal]
# Word by word entries, made once.
_FREQUENCY, _DEGREE, _MANNER, _TIMES, _FEELINGS, _AGES, _PREPOSITIONS, _QUESTIONS = (
    [_entry(line) for line in lines]
    for lines in (
        words.FREQUENCY, words.DEGREE, words.MANNER, words.TIMES, words.FEELINGS, words.AGES,
         words.PREPOSITIONS, words.QUESTIONS,
    )
)  # fmt: skip
COORDINATING = [_entry(line) for line in words.COORDINATING]
SUBORDINATING = [_entry(line) for line in words.SUBORDINATING]


def noun_phrase(
    noun: words.Noun, plural: bool, determiner: str, *, before: words.Adjective | None = None,
    after: words.Adjective | None = None, owner: Phrase = EMPTY, negative: bool = False,
    generic: bool = False,
) -> Phrase:  # fmt: skip
    """D B N A: determiner, adjective before, noun, adjective after; English D B A N.

    `determiner`: a key of DETERMINERS or a number's entry. `owner`: `D B N A de OWNER`, English
    OWNER 's B A N. `negative`: un, des, du become de. `generic`: no English word for the article.
    """
    parts = {"N": phrase(noun.french[plural], noun.english[plural]), "B": EMPTY, "A": EMPTY}
    for letter, adjective in (("B", before), ("A", after)):
        if adjective is not None:
            parts[letter] = phrase(adjective.french[noun.feminine][plural], adjective.english)
    if determiner in DETERMINERS:
        french, english = DETERMINERS[determiner][2 if plural else noun.feminine]
    else:
        french, english = determiner.split(" ")
    if determiner in ("a", "some"):
        if negative:
            french, english = "de", "a" if determiner == "a" and not plural else "any"
        elif plural and before is not None:
            french = "de"  # de petits chiens
    parts["D"] = phrase(french, english)
    if owner.source:
        parts |= {"G": phrase("de", "'s"), "O": owner}
        return compose("DBNAGO", "OGBAN", parts, also=("DG",))
    if generic:
        return compose("DBNA", "BAN", parts, also=("DN",))
    return compose("DBNA", "DBAN", parts)


def _draw_noun_phrase(
    draw: Draw, noun: words.Noun, plural: bool, determiner: str, *, negative: bool = False,
    generic: bool = False, owners: bool = False, modifiers: float = 0.3,
) -> Phrase:  # fmt: skip
    """`modifiers`: chance of an adjective on each side; `owners`: there may be an owner."""
    sides = [
        draw.pick(options[noun.kind]) if options[noun.kind] and draw.chance(modifiers) else None
        for options in (BEFORE, AFTER)
    ]
    owner = EMPTY
    if determiner == "the" and owners and draw.chance(0.3):
        owner = _person(draw, modifiers=0.0)
    generic = generic and determiner == "the" and (plural or noun.mass)
    return noun_phrase(noun, plural, determiner, before=sides[0], after=sides[1], owner=owner,
                       negative=negative, generic=generic)  # fmt: skip


def _person(draw: Draw, modifiers: float = 0.2) -> Phrase:
    """Somebody, in the singular, definite."""
    if draw.chance(0.4):
        return phrase(*(draw.pick(words.NAMES).split()[0],) * 2)
    return _draw_noun_phrase(draw, draw.pick(PEOPLE), False, draw.pick(("the", "my", "your")),
                       modifiers=modifiers)  # fmt: skip


def _subject(draw: Draw, predicate: str) -> Subject:
    if predicate == "it":
        return Subject(phrase("ce", "it"), 2, kind="it")
    if predicate != "thing" and draw.chance(0.55):
        french, english, person = draw.pick(PRONOUNS)
        feminine = french.startswith("elle") or (person not in (2, 5) and draw.chance(0.5))
        plural = person in (3, 5) or (person == 4 and draw.chance(0.5))
        return Subject(phrase(french, english), person, feminine, plural)
    if predicate != "thing" and draw.chance(0.25):
        name, gender = draw.pick(words.NAMES).split()
        if draw.chance(0.6):
            return Subject(phrase(name, name), 2, gender == "f")
        other, other_gender = draw.pick(words.NAMES).split()
        if other != name:
            both = concat(phrase(name, name), phrase("et", "and"), phrase(other, other))
            return Subject(both, 5, gender == other_gender == "f", True)
    nouns = FAMILY
    if predicate == "thing":
        nouns = THINGS
    elif predicate == "action":
        nouns = draw.pick((PEOPLE, PEOPLE, NOUNS["animal"]))
    elif predicate not in ("profession", "age"):
        nouns = PEOPLE
    noun, plural = draw.pick(nouns), draw.chance(0.3)
    # notre, votre, leur would hide the gender on which his and her depend.
    determiner = draw.pick(("the", "the", "my", "your", "this"))
    owners = predicate == "thing"
    drawn = _draw_noun_phrase(draw, noun, plural, determiner, owners=owners, modifiers=0.15)
    return Subject(drawn, 5 if plural else 2, noun.feminine, plural, noun.kind)


def _object(
    draw: Draw, noun: words.Noun, subject: Subject, negative: bool, generic: bool = False
) -> Phrase:
    plural = not noun.mass and draw.chance(0.4)
    options = ["the", "the", "some", "some"] if noun.mass else ["the", "the", "a", "a", "this"]
    if noun.kind not in ("place", "food", "drink"):
        options += ["my", "your", "our", "Your"]
        if subject.person == 2 and subject.kind != "it":
            options += ["her" if subject.feminine else "his"] * 3
        if subject.person == 5:
            options.append("their")
    if plural:
        options.append(draw.pick(words.NUMBERS))
    if generic and (plural or noun.mass):
        options = ["the"]
    return _draw_noun_phrase(draw, noun, plural, draw.pick(options), negative=negative,
                       generic=generic and noun.kind in GENERIC, owners=True)  # fmt: skip


def _place(draw: Draw, preposition: Phrase | None = None) -> Phrase:
    where = draw.pick(_PREPOSITIONS) if preposition is None else preposition
    determiner = draw.pick(("the", "the", "this"))
    drawn = _draw_noun_phrase(draw, draw.pick(NOUNS["place"]), False, determiner, modifiers=0.15)
    return concat(where, drawn)


def _adjective(draw: Draw, subject: Subject) -> Phrase:
    options = AFTER[subject.kind] + BEFORE[subject.kind]
    adjective = draw.pick(options)
    french = phrase(adjective.french[subject.feminine][subject.plural], adjective.english)
    return concat(draw.pick(_DEGREE), french) if draw.chance(0.35) else french


def profession(noun: words.Noun, plural: bool) -> Phrase:
    """After être: no article in French."""
    return phrase(noun.french[plural], noun.english[1] if plural else f"a {noun.english[0]}")


def _action(draw: Draw, subject: Subject, negative: bool) -> Predicate:
    verb = draw.pick(ANIMAL_VERBS if subject.kind == "animal" else words.VERBS)
    parts = {"M": draw.pick(_MANNER) if draw.chance(0.2) else EMPTY, "O": EMPTY, "T": EMPTY}
    clitic = EMPTY
    if verb.objects:
        if "person" in verb.objects and draw.chance(0.35):
            options = [entry for entry in CLITICS if entry[2] != subject.person]
            clitic = phrase(*draw.pick(options)[:2])
        else:
            generic = verb.base in ("like", "hate")
            noun = draw.pick(NOUNS[draw.pick(verb.objects)])
            parts["O"] = _object(draw, noun, subject, negative, generic)
    elif draw.chance(0.3):
        parts["O"] = _place(draw)
    if verb.base not in ("like", "hate", "know") and draw.chance(0.2):
        parts["T"] = draw.pick(_TIMES)
    if verb.objects:
        if verb.base in ("like", "hate", "know", "see", "find", "wear"):
            parts["M"] = EMPTY
        return Predicate(verb, compose("MOT", "OMT", parts), clitic)
    return Predicate(verb, compose("MOT", "MOT", parts))


def _predicate(draw: Draw, kind: str, subject: Subject, negative: bool) -> Predicate:
    if kind == "profession":
        nouns = [noun for noun in NOUNS["worker"] if noun.feminine == subject.feminine]
        return Predicate(words.BE, profession(draw.pick(nouns), subject.plural), adverb=False)
    if kind == "adjective" or (kind == "thing" and AFTER[subject.kind] and draw.chance(0.6)):
        return Predicate(words.BE, _adjective(draw, subject))
    if kind in ("place", "thing"):
        return Predicate(words.BE, _place(draw))
    if kind == "it":
        noun = draw.pick(PEOPLE + THINGS)
        determiner = draw.pick(("a", "a", "the", "my", "your"))
        drawn = _draw_noun_phrase(draw, noun, False, determiner, owners=True)
        return Predicate(words.BE, drawn, adverb=False)
    if kind == "feeling":
        feeling = draw.pick(_FEELINGS)
        if draw.chance(0.3):
            feeling = concat(draw.pick(_DEGREE[:2]), feeling)
        return Predicate(words.FEEL, feeling)
    if kind == "age":
        years = concat(draw.pick(_AGES), phrase("ans", "years old"))
        return Predicate(words.FEEL, years, adverb=False)
    if kind == "go":
        return Predicate(words.GO, _place(draw, phrase("à", "to")))
    if kind in ("have", "give"):
        verb = words.HAVE if kind == "have" else words.GIVE
        noun = draw.pick(NOUNS[draw.pick(verb.objects)])
        complement = _object(draw, noun, subject, negative)
        if kind == "give":
            complement = concat(complement, phrase("à", "to"), _person(draw))
        return Predicate(verb, complement, adverb=kind == "give")
    action = _action(draw, subject, negative)
    if kind == "action":
        return action
    verb, to = (words.CAN, "") if kind == "can" else (words.WANT, "to ")
    infinitive = phrase(action.verb.infinitive, to + action.verb.base)
    parts = {"K": action.clitic, "I": infinitive, "C": action.complement}
    return Predicate(verb, compose("KIC", "IKC", parts), adverb=kind == "can")


def clause(draw: Draw, question: bool = False) -> Phrase:
    """A main clause, or a question without its question mark; the first word not yet elided."""
    kind = draw.pick(PREDICATES)
    negative = draw.chance(0.25)
    subject = _subject(draw, kind)
    predicate = _predicate(draw, kind, subject, negative and kind != "it")
    negation, adverb, asked = "", EMPTY, None
    if negative:
        negation = "pas not"
        if predicate.adverb and draw.chance(0.3):
            negation = draw.pick(("jamais never", "plus no longer"))
    if predicate.adverb and negation in ("", "pas not") and draw.chance(0.15):
        adverb = draw.pick(_FREQUENCY[:2] if negative else _FREQUENCY)
    if question:
        asked = EMPTY
        if draw.chance(0.25):
            acts = kind in ("action", "go", "give") and not negative
            asked = draw.pick(_QUESTIONS) if acts else _QUESTIONS[0]
    return assemble(subject, predicate, negation, adverb, asked)


def saying(draw: Draw) -> Phrase:
    """`je pense que` - i think that: opens a subordinate clause."""
    adverb = draw.pick(_FREQUENCY) if draw.chance(0.2) else EMPTY
    predicate = Predicate(draw.pick(words.SAYING), phrase("que", "that"))
    return assemble(_subject(draw, "saying"), predicate, adverb=adverb)


def assemble(
    subject: Subject, predicate: Predicate, negation: str = "", adverb: Phrase = EMPTY,
    asked: Phrase | None = None,
) -> Phrase:  # fmt: skip
    """The clause rules. `negation`: "pas not" or another; `asked`: the question word or EMPTY."""
    verb, person = predicate.verb, subject.person
    be, question = verb.order == "be", asked is not None
    auxiliary = "" if be else ("does" if person == 2 else "do")
    helped = not be and (question or negation == "pas not")
    english = verb.base if helped else verb.english[person]
    parts = {
        "W": asked or EMPTY, "Q": EMPTY, "S": subject.phrase, "N": EMPTY, "K": predicate.clitic,
        "V": phrase(verb.forms[person], english), "P": EMPTY, "A": adverb,
        "C": predicate.complement,
    }  # fmt: skip
    also = []
    if negation:
        parts["N"] = phrase("ne", auxiliary if helped and not question else "")
        parts["P"] = phrase(*negation.split(" ", 1))
        if not parts["N"].target:
            also.append("NP")
    if question:
        parts["Q"] = phrase("est-ce que", auxiliary)
        if be:
            also.append("QV")
    orders = ("SVPAKC", "WVSPAKC") if be else ("SNPAVKC", "WQSPAVKC")
    return finish(compose("WQSNKVPAC", orders[question], parts, also))


_ENGLISH_VOWELS = tuple("aeiou")
_CONTRACTED = {"de": "du", "à": "au"}  # before le
_ELIDED = {
    "je": "j'", "ne": "n'", "le": "l'", "la": "l'", "de": "d'", "que": "qu'", "me": "m'",
    "te": "t'", "ma": "mon", "ta": "ton", "sa": "son", "ce": "cet", "nouveau": "nouvel",
}  # fmt: skip


def elide(source: list[str]) -> list[str]:
    """Word by word, in place, before a vowel: je ai -> j' ai, ma amie -> mon amie."""
    for i in range(len(source) - 1):
        word, after = source[i], source[i + 1]
        if word in _ELIDED and after.startswith(words.VOWELS):
            source[i] = "c'" if (word, after) == ("ce", "est") else _ELIDED[word]
        elif word == "si" and after in ("il", "ils"):
            source[i] = "s'"
    return source


def finish(part: Phrase) -> Phrase:
    """Elision, contraction (de le -> du, à le -> au; de l' eau stays), a -> an; links go along."""
    source, target, links = elide(list(part.source)), list(part.target), part.links
    for i in range(len(source) - 2, -1, -1):
        if source[i + 1] == "le" and source[i] in _CONTRACTED:
            source[i : i + 2] = [_CONTRACTED[source[i]]]
            links = tuple(dict.fromkeys((s - (s > i), t) for s, t in links))
    for j in range(len(target) - 1):
        if target[j] == "a" and target[j + 1].startswith(_ENGLISH_VOWELS):
            target[j] = "an"
    return Phrase(tuple(source), tuple(target), links)
