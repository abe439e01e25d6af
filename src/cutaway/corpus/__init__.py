"""Raw text and a generated world in, clean train and held-out documents out."""

from cutaway.corpus.build import CorpusSettings, WorldSettings, build_corpus, corpus_sizes, read_texts
from cutaway.corpus.documents import Document, read_documents
from cutaway.corpus.world import Entity, World

__all__ = [
    "CorpusSettings",
    "Document",
    "Entity",
    "World",
    "WorldSettings",
    "build_corpus",
    "corpus_sizes",
    "read_documents",
    "read_texts",
]
