"""From a language model to an assistant: fine-tuning on conversations, and reinforcement learning."""
