"""BERT (Devlin et al. 2018), RoBERTa (Liu et al. 2019) and the sentence encoders made of them, such as MiniLM."""

from __future__ import annotations

from typing import Any

from cutaway.model.config import ModelConfig
from cutaway.model.families.family import PLAIN, Family, Json, activation, must_be, their_activation
from cutaway.model.weights import Names


def read(config: Json, **fields: Any) -> ModelConfig:
    """The shape that config.json describes."""
    must_be(config, position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    n_heads = config["num_attention_heads"]
    architecture = (config.get("architectures") or ["BertModel"])[0]
    common: dict[str, Any] = {
        **PLAIN,
        "vocab_size": config["vocab_size"],
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "n_heads": n_heads,
        "n_kv_heads": n_heads,
        "d_head": config["hidden_size"] // n_heads,
        "d_mlp": config["intermediate_size"],
        "context": config["max_position_embeddings"],
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "tied_embeddings": config.get("tie_word_embeddings", True),
        "family": "bert",
        "kind": "encoder",
        "norm_place": "after_sum",
        "final_norm": False,
        "embedding_norm": True,
        "n_token_types": config["type_vocab_size"],
        "positions": "learned",
        "activation": activation(config.get("hidden_act", "gelu")),
        "head": "masked" if architecture.endswith("ForMaskedLM") else "pooler",
        "unembed_bias": True,
    }
    return ModelConfig(**(common | fields))


def write(config: ModelConfig) -> dict[str, Any]:
    """config.json."""
    return {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.n_layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_mlp,
        "max_position_embeddings": config.position_offset + config.context,
        "layer_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "type_vocab_size": config.n_token_types,
        "hidden_act": their_activation(config.activation),
    }


def body(config: ModelConfig) -> dict[str, str]:
    """Names of all but the head."""
    return {
        "embed": "embeddings.word_embeddings",
        "pos_embed": "embeddings.position_embeddings",
        "type_embed": "embeddings.token_type_embeddings",
        "ln_embed": "embeddings.LayerNorm",
        "blocks.{i}.attn.q": "encoder.layer.{i}.attention.self.query",
        "blocks.{i}.attn.k": "encoder.layer.{i}.attention.self.key",
        "blocks.{i}.attn.v": "encoder.layer.{i}.attention.self.value",
        "blocks.{i}.attn.o": "encoder.layer.{i}.attention.output.dense",
        "blocks.{i}.ln1": "encoder.layer.{i}.attention.output.LayerNorm",
        "blocks.{i}.mlp.up": "encoder.layer.{i}.intermediate.dense",
        "blocks.{i}.mlp.down": "encoder.layer.{i}.output.dense",
        "blocks.{i}.ln2": "encoder.layer.{i}.output.LayerNorm",
        "pooler": "pooler.dense",
    }


def bert_names(config: ModelConfig) -> Names:
    """BERT's names."""
    return {ours: f"bert.{theirs}" for ours, theirs in body(config).items()} | {
        "head": "cls.predictions.transform.dense",
        "ln_head": "cls.predictions.transform.LayerNorm",
        "unembed.bias": "cls.predictions.bias",
        "unembed": "cls.predictions.decoder",
    }


def read_roberta(config: Json) -> ModelConfig:
    """RoBERTa: positions begin after the padding token's id."""
    offset = config.get("pad_token_id", 1) + 1
    return read(config, family="roberta", context=config["max_position_embeddings"] - offset, position_offset=offset)


def write_roberta(config: ModelConfig) -> dict[str, Any]:
    """RoBERTa's config.json."""
    return write(config) | {"pad_token_id": config.position_offset - 1}


def roberta_names(config: ModelConfig) -> Names:
    """RoBERTa's names."""
    return {ours: f"roberta.{theirs}" for ours, theirs in body(config).items()} | {
        "head": "lm_head.dense",
        "ln_head": "lm_head.layer_norm",
        "unembed.bias": "lm_head.bias",
        "unembed": "lm_head.decoder",
    }


BERT = Family(
    "bert",
    {"masked": "BertForMaskedLM", "pooler": "BertModel"},
    read,
    write,
    bert_names,
    prefix="bert.",
    ignored=("embeddings.position_ids", "cls.predictions.decoder.bias", "cls.seq_relationship.weight"),
)
ROBERTA = Family(
    "roberta",
    {"masked": "RobertaForMaskedLM", "pooler": "RobertaModel"},
    read_roberta,
    write_roberta,
    roberta_names,
    prefix="roberta.",
    ignored=("embeddings.position_ids", "lm_head.decoder.bias"),
)
