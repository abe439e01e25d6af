"""Distillation: a student learns what a teacher says of every token, not only which token came."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from cutaway.model import ModelConfig, Transformer
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import BadInput
from cutaway.train.cost import flops_per_token
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.objectives.language import LanguageModelling, logits_to_learn
from cutaway.train.objectives.objective import Batch


class Distillation(LanguageModelling):
    """alpha · T² · KL(teacher at T ‖ student at T) + (1 − alpha) · cross-entropy (Hinton et al. 2015, section 2).

    At a temperature T logits are divided by T before the softmax; its gradient shrinks with T², hence the factor.
    Batches are those of language modelling, for two decoders, or of masked modelling, for two encoders.
    """

    def __init__(
        self,
        teacher: Transformer,
        student: ModelConfig,
        *,
        temperature: float = 2.0,
        alpha: float = 0.5,
        z_loss: float = 0.0,
    ) -> None:
        """Take a teacher, from now on in eval mode. Whether both have the same tokenizer is for the caller to see to.

        Raises:
            BadInput: their vocabularies differ in size, one is of another kind, or they are encoder–decoders.
        """
        super().__init__(z_loss)
        theirs = teacher.config
        if theirs.vocab_size != student.vocab_size:
            raise BadInput(
                f"the teacher's vocabulary has {theirs.vocab_size:,} tokens and the student's {student.vocab_size:,}; "
                "a student learns from a teacher with the same tokenizer"
            )
        if theirs.kind != student.kind or student.kind == "encoder-decoder":
            raise BadInput(
                f"the teacher is of the kind {theirs.kind} and the student {student.kind}; "
                "distillation is for two decoders or two encoders"
            )
        self.teacher = teacher.eval()
        self.temperature = temperature
        self.alpha = alpha

    def ready(self, batch: Batch) -> Batch:
        """Tokens, and where there is something to learn. Raises `BadInput` for rows that the teacher cannot read."""
        self.teacher.to(batch["tokens"].device)
        length, context = batch["tokens"].shape[1], self.teacher.config.context
        if length > context:
            raise BadInput(f"rows of {length} tokens are longer than the teacher's context of {context}; shorten them")
        return super().ready(batch)

    def total(self, model: Transformer, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the tokens' losses."""
        logits = logits_to_learn(model, ready, tap)
        with torch.no_grad():
            wanted = F.log_softmax(logits_to_learn(self.teacher, ready).float() / self.temperature, dim=-1)
        given = F.log_softmax(logits.float() / self.temperature, dim=-1)
        divergence = F.kl_div(given, wanted, reduction="sum", log_target=True)
        soft = self.alpha * self.temperature**2 * divergence
        return soft + (1 - self.alpha) * cross_entropy(logits, ready["targets"], self.z_loss)

    def flops(self, model: Transformer, batch: Batch) -> float:
        """Operations of a training step on a batch, the teacher's forward pass included."""
        tokens, learned = batch["tokens"], float(batch["learned"].float().mean())
        # What a training step takes is three times a forward pass.
        teaching = flops_per_token(self.teacher.config, tokens.shape[1], learned=learned) / 3
        return super().flops(model, batch) + tokens.numel() * teaching
