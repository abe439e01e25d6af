"""Serving models over HTTP: OpenAI's API, and a page that shows what the model could have said."""

from cutaway.serve.app import create_app
from cutaway.serve.gate import Access
from cutaway.serve.launch import serve
from cutaway.serve.limits import Limits
from cutaway.serve.offers import Offer

__all__ = ["Access", "Limits", "Offer", "create_app", "serve"]
