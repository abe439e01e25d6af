"""The grammar that makes a model call a tool, in the form that it knows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cutaway.infer.constrained import SPACING, Grammar
from cutaway.serve.calls import LLAMA, MISTRAL, form_of
from cutaway.serve.messages import Function
from cutaway.serve.tools import NO_ARGUMENTS
from cutaway.tokens import Tokenizer


def must_call(functions: Sequence[Function], tokenizer: Tokenizer, *, parallel: bool) -> Grammar:
    """The grammar of an answer that is calls of these functions, one or, where `parallel`, one or more.

    Raises:
        BadInput: the parameters of a function are no schema, or beyond the bounds.
    """

    def mark(name: str) -> str:
        """A mark, as the token that it is, or else as text."""
        return f"<[{tokenizer.special[name]}]>" if name in tokenizer.special else json.dumps(name)

    form, template = form_of(tokenizer), tokenizer.tool_template
    begins = ends = before = behind = between = ""
    key, tail = "parameters" if form is LLAMA else "arguments", '"}"'
    heads = [json.dumps(f'{{"name": "{each.name}", "{key}": ') for each in functions]
    if form is LLAMA:
        between = '"; "'
    elif form is MISTRAL and "[ARGS]" in template:
        before, tail = mark("[TOOL_CALLS]"), ""
        id_ = f"{mark('[CALL_ID]')} ID" if "[CALL_ID]" in template else ""
        heads = [f"{json.dumps(each.name)} {id_} {mark('[ARGS]')}" for each in functions]
    elif form is MISTRAL:
        begins, between, ends = f'{mark("[TOOL_CALLS]")} "["', '", "', '"]"'
    else:
        before, between, behind = f'{mark("<tool_call>")} "\\n"?', '"\\n"', f'"\\n"? {mark("</tool_call>")}'
    either = " | ".join(f"call_{i}" for i in range(len(functions)))
    more = f"({between} call)*" if parallel else ""
    rules = [f"start: {begins} call {more} {ends}", f"call: {before} ({either}) {behind}", "ID: /[a-zA-Z0-9]{9}/"]
    for i, each in enumerate(functions):
        # A schema of its own, so that what it refers to is found from its own root.
        schema = {**(each.parameters or NO_ARGUMENTS), "x-guidance": SPACING}
        rules += [f"call_{i}: {heads[i]} arguments_{i} {tail}", f"arguments_{i}: %json {json.dumps(schema)}"]
    return Grammar.lark("\n".join(rules) + "\n")
