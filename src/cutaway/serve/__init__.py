"""Serving models over HTTP: OpenAI's API, and a page that shows what the model could have said."""

from cutaway.serve.app import create_app
from cutaway.serve.gate import Access
from cutaway.serve.keys import make_key
from cutaway.serve.launch import serve
from cutaway.serve.limits import CallerLimits, Limits
from cutaway.serve.offers import Offer

__all__ = ["Access", "CallerLimits", "Limits", "Offer", "create_app", "make_key", "serve"]
