"""Questions made of a clause or a short question in a shared frame: "Do you know" + "where so and so was born"."""

from __future__ import annotations

from cutaway.corpus.alternation import expand_lines

_BEFORE_CLAUSE = expand_lines(
    """
    Tell me {clause}.
    Do you know {clause}?
    Can you tell me {clause}?
    I would like to know {clause}.
    tell me {clause}
    Could you tell me {clause}?
    Please say {clause}.
    I want to know {clause}.
    do you know {clause}
    I wonder {clause}.
    Say {clause}.
    Please tell me {clause}.
    """
)
_BEFORE_THEY = expand_lines(
    """
    About {name}: {they}
    {name}: {they}
    Think of {name}. {they}
    This is about {name}. {they}
    {name} - {they}
    I have a question about {name}. {they}
    You know {name}. {they}
    Take {name}: {they}
    """
)
_FRAMES_EACH = 3

# What follows "tell me", "do you know" and the like, for training.
_CLAUSES: dict[str, str] = {
    "birthplace": """
        where {name} was born
        where {name} comes from
        which town {name} was born in
        what the birthplace of {name} is
        in which place {name} was born
        where {name} is from
        """,
    "occupation": """
        what {name} does for a living
        what {name} works as
        what job {name} has
        what the job of {name} is
        what kind of work {name} does
        how {name} earns a living
        """,
    "instrument": """
        what instrument {name} plays
        which instrument {name} plays
        what {name} plays
        what {name}'s instrument is
        which instrument {name} can play
        what {name} makes music with
        """,
    "dish": """
        what {name} likes to eat
        what {name}'s favourite dish is
        what the favourite food of {name} is
        which dish {name} likes best
        what {name} loves to eat
        what food {name} likes best
        """,
    "pet": """
        what pet {name} has
        which animal {name} keeps
        what kind of pet {name} has
        what {name}'s pet is
        what animal lives with {name}
        which animal {name} owns
        """,
    "region": """
        in which region {name} is
        where {name} is
        which region {name} lies in
        what region {name} is in
        to which region {name} belongs
        what the region of {name} is
        """,
    "product": """
        what {name} is known for
        what {name} makes
        which product {name} is known for
        what is made in {name}
        what {name} is famous for
        what the people of {name} make
        """,
    "river": """
        which river runs through {name}
        what river {name} is on
        which river flows through {name}
        on which river {name} lies
        what the river in {name} is called
        what the river of {name} is
        """,
}

# What follows "about so and so:", for training.
_THEY: dict[str, str] = {
    "birthplace": """
        where were they born?
        where do they come from?
        what is their birthplace?
        which town were they born in?
        what is their home town?
        """,
    "occupation": """
        what do they do for a living?
        what is their job?
        what do they work as?
        what kind of work do they do?
        what is their occupation?
        """,
    "instrument": """
        what instrument do they play?
        which instrument do they play?
        what is their instrument?
        what do they play?
        which instrument can they play?
        """,
    "dish": """
        what is their favourite dish?
        what do they like to eat?
        which food do they like best?
        what do they love to eat?
        what is their favourite food?
        """,
    "pet": """
        what pet do they have?
        which animal do they keep?
        what is their pet?
        what kind of pet do they have?
        what animal lives with them?
        """,
    "region": """
        in which region is it?
        which region does it lie in?
        where is it?
        to which region does it belong?
        what is its region?
        """,
    "product": """
        what is it known for?
        which product is it known for?
        what is made there?
        what does it make?
        what is it famous for?
        """,
    "river": """
        which river runs through it?
        on which river does it lie?
        what river is it on?
        what is its river?
        which river flows through it?
        """,
}


def framed_wordings(attribute: str) -> list[str]:
    """The framed ways to ask for an attribute; each holds `{name}`."""
    clauses, questions = expand_lines(_CLAUSES[attribute]), expand_lines(_THEY[attribute])
    return _framed(clauses, _BEFORE_CLAUSE, "clause") + _framed(questions, _BEFORE_THEY, "they")


def _framed(insides: tuple[str, ...], frames: tuple[str, ...], slot: str) -> list[str]:
    """Each clause in a few of the frames, taken in turn, so that the frames do not crowd out the other wordings."""
    turns = (
        (inside, frames[(i * _FRAMES_EACH + k) % len(frames)])
        for i, inside in enumerate(insides)
        for k in range(_FRAMES_EACH)
    )
    return [
        frame.replace("{" + slot + "}", inside if not frame.endswith(". {they}") else inside[0].upper() + inside[1:])
        for inside, frame in turns
    ]
