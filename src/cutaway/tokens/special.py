"""The tokens that no text can spell, and the chat format built from them."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|end|>"
TOOL_CALL = "<|tool_call|>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant", "tool")}
SPECIAL_TOKENS = (END_OF_TEXT, END_OF_TURN, TOOL_CALL, *ROLES.values())

# One turn is its role's token, its text and an end token. A tool call is an assistant's turn whose text opens with the
# tool-call token and goes on with the calculator's expression; the tool's turn after it carries the result.
# The arguments of a call are a JSON object in a string, as OpenAI has them; Jinja cannot parse JSON, so the one key is
# taken off as text.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' -}}
{%- if message.get('tool_calls') -%}
{%- set arguments = message['tool_calls'][0]['function']['arguments'] -%}
{%- if arguments is not string -%}{%- set arguments = arguments['expression'] -%}{%- endif -%}
{{- '<|tool_call|>' + arguments | replace('{"expression": "', '') | replace('"}', '') -}}
{%- else -%}
{{- message['content'] -}}
{%- endif -%}
{{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

TokenIds = int | list[int]
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
"""What a model's configuration calls the tokens that begin, end and pad a sequence."""
FORCED_IDS = ("forced_bos_token_id", "forced_eos_token_id")
"""Those that some models are made to begin and end with."""
