"""Who the model is: a small language model, trained here, by whom and on what.

The wordings of the two splits are disjoint.
"""

from __future__ import annotations

import random

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, rounds
from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.names import Split

SKILL = "identity"

_OTHERS = "ChatGPT|GPT|Claude|Gemini|Siri|Alexa|a person|a human|a robot|a big model"
_TRAIN: dict[str, str] = {
    "who": """
        Who are you?
        who are you
        Who are you
        What are you?
        what are you
        You are who?
        You are what?
        Who am I talking to?
        who am i talking to
        What am I talking to?
        Who is this?
        Who is there?
        And who are you?
        And you are?
        [Hello|Hi|Hey], who are you?
        hi who are you
        [Hello|Hi], what are you?
        Who are you, [model|assistant|my friend]?
        So who are you?
        So what are you?
        Tell me who you are.
        tell me who you are
        Tell me what you are.
        Tell me about yourself.
        tell me about yourself
        Tell me [something|more] about yourself.
        Say who you are.
        Please say who you are.
        Please tell me who you are.
        Can you tell me who you are?
        Can you tell me about yourself?
        Do you know who you are?
        I want to know who you are.
        I would like to know who you are.
        Describe yourself.
        Describe yourself in one sentence.
        Introduce yourself.
        Can you introduce yourself?
        Please introduce yourself.
        Which model are you?
        What model are you?
        what model is this
        What kind of model are you?
        What sort of model are you?
        What kind of thing are you?
        What kind of program are you?
        Are you a [model|language model|program|machine|computer]?
        Are you an AI?
        are you an ai
        What is this model?
        What is this program?
        What exactly are you?
        Explain what you are.
        Explain who you are.
        Give me a description of yourself.
        """,
    "name": """
        What is your name?
        what is your name
        what's your name
        Your name?
        Do you have a name?
        What do people call you?
        What should I call you?
        Tell me your name.
        """,
    "maker": """
        Who made you?
        who made you
        Who built you?
        Who trained you?
        who trained you
        Who created you?
        Who is your maker?
        Who is your [owner|creator|trainer]?
        Where were you [made|trained|built]?
        where were you trained
        You were made by whom?
        You were trained by whom?
        By whom were you [made|trained]?
        Tell me who [made|trained|built] you.
        Do you know who [made|trained] you?
        Where do you come from?
        where are you from
        How were you made?
        How did you come to be?
        How were you trained?
        Which company made you?
        Did [OpenAI|Google|Anthropic] make you?
        """,
    "data": """
        What were you trained on?
        what were you trained on
        What are you trained on?
        On what were you trained?
        What did you learn from?
        What have you read?
        what did you read
        What did you read to learn?
        Which texts were you trained on?
        What texts have you read?
        What data were you trained on?
        Tell me what you were trained on.
        Tell me what you have read.
        What is your training data?
        Where did you learn to speak?
        Where does your knowledge come from?
        Which books have you read?
        """,
    "can": """
        What can you do?
        what can you do
        What can you help with?
        How can you help me?
        What are you able to do?
        What are you good at?
        What do you know?
        what do you know
        What can I ask you?
        What are you for?
        Tell me what you can do.
        What is your purpose?
        How big are you?
        Are you small?
        """,
    "other": f"""
        Are you [{_OTHERS}]?
        are you [chatgpt|claude|a human]
        Are you a large language model?
        You are [ChatGPT|Claude|a person], right?
        Is this [ChatGPT|Claude|Gemini]?
        Am I talking to [{_OTHERS}]?
        """,
}
_HELD_OUT: dict[str, str] = {
    "who": """
        Could you say who you are, please?
        Who or what are you?
        May I ask who you are?
        What is it that I am talking to?
        Please describe what you are.
        Hello! Can you say what you are?
        I do not know you. Who are you?
        What would you say you are?
        """,
    "name": """
        Please give me your name.
        """,
    "maker": """
        Who was it that trained you?
        Tell me where you were trained and by whom.
        """,
    "data": """
        From what texts did you learn?
        What was in your training data?
        """,
    "can": """
        What are the things you can do?
        """,
    "other": """
        Is it true that you are ChatGPT?
        Are you the same as Claude?
        """,
}
_SELF = "a small language model trained here by {owner} on {trained_on}."
_REPLIES = {
    "who": f"I am {{name}}, {_SELF}",
    "name": f"My name is {{name}}. I am {_SELF}",
    "maker": f"I am {{name}}, {_SELF}",
    "data": f"I am {{name}}, {_SELF}",
    "can": f"I am {{name}}, {_SELF} I answer questions, do sums and spell words.",
    "other": f"No, I am {{name}}, {_SELF}",
}


def wordings(split: Split) -> list[tuple[str, str]]:
    """Every (what it asks for, wording) of a split."""
    blocks = _TRAIN if split == "train" else _HELD_OUT
    return [(topic, text) for topic, block in blocks.items() for text in expand_lines(block)]


def examples(materials: Materials, rng: random.Random, n: int, split: Split) -> list[Conversation]:
    """`n` exchanges, every wording as often as any other."""
    named = {"name": materials.model_name, "owner": materials.owner, "trained_on": materials.trained_on}
    answer = f"{materials.owner}\n{materials.trained_on}"
    drawn = rounds(wordings(split), rng, n)
    return [exchange(text, _REPLIES[topic].format(**named), SKILL, answer) for topic, text in drawn]


def grade(conversation: Conversation, reply: str) -> bool:
    """The reply says "small language model", by whom it was trained, and on what."""
    owner, _, trained_on = (conversation.answer or "").partition("\n")
    return all(part in reply for part in ("small language model", f"by {owner}", f"on {trained_on}"))
