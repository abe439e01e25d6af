"""lm-eval's scores over HTTP beside those that its `hf` model gives in process, on the same weights.

    make oracles                                                        # builds the environment that has lm-eval
    .venv-oracles/bin/python bench/lm_eval_scores.py smollm2-135m --data TASKS # TASKS: a folder of *.jsonl.gz

`local-completions` asks for the log-probabilities of echoed prompts and for continuations, `local-chat-completions` for
answers. Tasks: ARC-easy, PIQA, BoolQ, OpenBookQA, COPA, CommonsenseQA (the likelihood of each choice), LAMBADA (whether
greedy decoding would write the word), the same words and the answers of Jeopardy written. It fails (exit code 1) where
a score differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import lm_eval
from load import Server

from cutaway.evals.markdown import markdown_table
from cutaway.infer import load
from cutaway.infer.export import export

CHOICES = {"arc_easy": "\nAnswer:", "piqa": "Answer:", "boolq": "", "openbook_qa": "", "copa": "", "commonsense_qa": ""}
"""Tasks of several choices, each with what comes between its question and them."""

LONGEST = 0.02
"""How far a log-likelihood may be off, in nats: the sums are the same numbers added in another order."""


def task(name: str, file: Path, **settings: Any) -> dict[str, Any]:
    """A task that reads one local file."""
    data = {"path": "json", "data_files": {"test": str(file)}}
    return {
        "task": name,
        "dataset_path": data["path"],
        "dataset_kwargs": {"data_files": data["data_files"]},
        "test_split": "test",
        "num_fewshot": 0,
        **settings,
    }


def tasks(folder: Path, work: Path, limit: int) -> list[dict[str, Any]]:
    def first(name: str) -> Path:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as source:
            rows = [json.loads(line) for line, _ in zip(source, range(limit), strict=False)]
        file = work / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    accuracy = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    choices = [
        task(
            f"{name}_local", first(name), output_type="multiple_choice", doc_to_text=f"{{{{query}}}}{prompted}",
            doc_to_choice="{{choices}}", doc_to_target="{{gold}}", metric_list=accuracy,
        )
        for name, prompted in CHOICES.items()
    ]  # fmt: skip
    lambada = first("lambada_openai")
    written = {
        "output_type": "generate_until",
        "doc_to_text": "{{context}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    return [
        *choices,
        task(
            "lambada_local", lambada, output_type="loglikelihood", doc_to_text="{{context}}",
            doc_to_target="{{' ' + continuation}}", metric_list=accuracy,
        ),
        task("lambada_written", lambada, doc_to_target="{{continuation}}", **written),
        task("jeopardy_written", first("jeopardy_all"), doc_to_target="{{continuation}}", **written),
    ]  # fmt: skip


def scores(model: str, arguments: dict[str, Any], wanted: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    found = lm_eval.simple_evaluate(model=model, model_args=arguments, tasks=wanted, log_samples=True, **more)
    assert found is not None
    return found


def answers(found: dict[str, Any], name: str) -> list[Any]:
    """What came back for each question, in order."""
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return [sample["filtered_resps"] for sample in samples]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", help="a decoder")
    options.add_argument("--data", type=Path, required=True, help="a folder of the tasks, each NAME.jsonl.gz")
    options.add_argument("--limit", type=int, default=100, help="questions of each task")
    given = options.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        directory = str(export(load(given.model), "hf", out=work / "model"))
        wanted = tasks(given.data, work, given.limit)
        reference = scores("hf", {"pretrained": directory, "dtype": "float32", "device": "cpu"}, wanted, batch_size=4)
        chats = [each for each in wanted if each["output_type"] == "generate_until"]
        chat_reference = scores(
            "hf", {"pretrained": directory, "dtype": "float32", "device": "cpu"}, chats, apply_chat_template=True
        )
        server = Server([directory], 0, work)
        try:
            url = f"http://127.0.0.1:{server.port}/v1"
            arguments = {"model": server.name, "tokenizer": directory, "tokenizer_backend": "huggingface"}
            over = scores(
                "local-completions",
                {**arguments, "base_url": f"{url}/completions", "num_concurrent": 1, "batch_size": 8},
                wanted,
            )
            chat_over = scores(
                "local-chat-completions",
                {"model": server.name, "base_url": f"{url}/chat/completions", "num_concurrent": 1},
                chats,
                apply_chat_template=True,
            )
        finally:
            server.stop()
    same = True
    both = {"local-completions": (over, reference), "local-chat-completions": (chat_over, chat_reference)}
    for label, (ours, theirs) in both.items():
        for name, metrics in theirs["results"].items():
            metric = next(key for key in metrics if key.startswith(("acc,", "exact_match,")))
            found, expected = ours["results"][name][metric], metrics[metric]
            pairs = list(zip(answers(ours, name), answers(theirs, name), strict=True))
            equal = sum(near(a, b) for a, b in pairs)
            same &= found == expected
            rows.append([f"{label}, {name}", f"{expected:.3f}", f"{found:.3f}", f"{equal} of {len(pairs)}"])
    print(markdown_table(["", "in process", "over HTTP", "same answers"], rows))
    sys.exit(0 if same else 1)


def near(a: Any, b: Any) -> bool:
    """Whether two answers are the same: texts, or log-likelihoods with whether they are greedy."""
    if isinstance(a, str) or isinstance(b, str) or isinstance(a, bool):
        return a == b
    if isinstance(a, int | float):
        return abs(a - b) < LONGEST
    return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b, strict=True))


if __name__ == "__main__":
    main()
