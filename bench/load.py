"""Many clients at once on one server, of whom some hang up: what they wait, and what is left of them.

    .venv/bin/python bench/load.py runs/demo                     # 200 clients for 10 minutes
    .venv/bin/python bench/load.py runs/demo --kill              # and `kill -9` in the middle
    .venv/bin/python bench/load.py --clients 50 --minutes 1      # a random model of four layers

Each client asks again and again, for chats and continuations of random lengths, streamed or whole; some hang up before
the first token, some after a few. It fails (exit code 1) if a request that was accepted had neither an answer nor a
reason, if a place is still taken when all have gone, or if memory grew by more than 2% after the warm-up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cutaway.evals.markdown import markdown_table

TEXT = "the sky is blue and in the beginning God made the heaven and the earth what is 47 + 36 who are you"
WORDS = TEXT.split()
MOST_GROWTH = 0.02
WARM_UP = 0.3
"""Share of the time after which memory is to stay as it is."""


@dataclass
class Found:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    first_tokens: list[float] = field(default_factory=list)
    tokens: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    down: bool = False
    """Whether the server is being killed and started again."""


class Server:
    """`cutaway serve` in a process of its own."""

    def __init__(self, models: Sequence[str], port: int, directory: Path, history: Path | None = None) -> None:
        self.models, self.port, self.directory = models, port, directory
        self.history = ["--history", str(history)] if history else ["--no-history"]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "cutaway", "serve", *self.models, *self.history, "--port", str(self.port)]
        command += ["--log", str(self.directory / "log.jsonl")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("Serving "):
                self.name = line.removeprefix("Serving ").split(",")[0].strip()
            if line.strip().startswith("API"):
                self.port = int(line.rsplit(":", 1)[1].split("/")[0])
                return
        raise SystemExit(f"the server did not start (exit code {self.process.wait()})")

    def memory(self) -> float:
        """Resident memory in MiB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise KeyError("VmRSS")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@asynccontextmanager
async def request(port: int, path: str, body: dict | None = None) -> AsyncIterator[asyncio.StreamReader]:
    """The answer to one request on a connection of its own; leaving the block hangs up."""
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{'POST' if data else 'GET'} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if data:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        writer.write(head.encode() + b"\r\n" + data)
        await writer.drain()
        yield reader
    finally:
        writer.close()


async def status_of(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line:
        raise ConnectionResetError("no answer")
    while (await reader.readline()).strip():
        pass
    return int(line.split()[1])


async def number(port: int, name: str) -> float:
    async with request(port, "/metrics") as reader:
        await status_of(reader)
        lines = (await reader.read()).decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0] == name)


async def one(server: Server, rng: random.Random, found: Found, hang_up: float, most_tokens: int) -> str:
    """Ask once; gives what came of it."""
    text = " ".join(rng.choices(WORDS, k=rng.choice((3, 10, 40, 120))))
    stream, chat, leaves = rng.random() < 0.8, rng.random() < 0.7, rng.random() < hang_up
    body = {"model": server.name, "max_tokens": rng.randint(1, most_tokens), "stream": stream}
    body |= {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
    patience = rng.choice((0, 0, 1, 5, 20)) if leaves else None
    began = time.monotonic()
    async with request(server.port, f"/v1/{'chat/completions' if chat else 'completions'}", body) as reader:
        if patience == 0:
            await asyncio.sleep(rng.random() * 0.5)
            return "hung up before the first token"
        status = await status_of(reader)
        if status != 200:
            detail = (await reader.read()).decode(errors="replace")
            if status in (429, 503):
                await asyncio.sleep(1 + rng.random())
                return f"refused with {status}"
            found.broken.append(f"{status}: {detail[:300]}")
            return "broken"
        if not stream:
            answer = await reader.read()
            return "answered" if b'"finish_reason"' in answer else "broken"
        tokens, reason = 0, None
        async for line in reader:
            if not line.startswith(b"data: {"):
                if line.startswith(b"data: [DONE]"):
                    return "answered" if reason else "broken"
                continue
            event = json.loads(line[6:])
            if "error" in event:
                return f"ended: {event['error']['code']}"
            choice = event["choices"][0]
            reason = choice["finish_reason"] or reason
            if choice.get("text") or choice.get("delta", {}).get("content"):
                tokens += 1
                found.tokens += 1
                if tokens == 1:
                    found.first_tokens.append(time.monotonic() - began)
                if tokens == patience:
                    return "hung up in the middle"
        raise ConnectionResetError("the stream broke off")


async def client(server: Server, seed: int, end: float, found: Found, given: argparse.Namespace) -> None:
    rng = random.Random(seed)
    await asyncio.sleep(rng.random() * 2)
    while time.monotonic() < end:
        try:
            outcome = await one(server, rng, found, given.hang_up, given.tokens)
        except (OSError, asyncio.IncompleteReadError) as error:
            if not found.down:
                found.broken.append(repr(error))
            outcome = "the server was killed" if found.down else "broken"
            await asyncio.sleep(0.5)
        found.outcomes[outcome] += 1


async def watch(server: Server, end: float, found: Found, *, kill: bool) -> None:
    """Note the memory every second; kill the server in the middle and start it again."""
    began = time.monotonic()
    while time.monotonic() < end:
        await asyncio.sleep(1)
        if kill and time.monotonic() > (began + end) / 2:
            kill, found.down = False, True
            server.kill()
            await asyncio.to_thread(server.start)
            await asyncio.sleep(1)
            found.down, found.memory, began = False, [], time.monotonic()
        found.memory.append((time.monotonic() - began, server.memory()))


async def idle(port: int, seconds: float = 60) -> float:
    """Places that are still taken when all clients have gone."""
    for _ in range(int(seconds * 5)):
        taken = await number(port, "cutaway_running") + await number(port, "cutaway_waiting")
        if not taken:
            return 0
        await asyncio.sleep(0.2)
    return taken


def growth(memory: list[tuple[float, float]]) -> float:
    """How much of the memory after the warm-up came in the time from then to the end."""
    whole = memory[-1][0]
    tenth = whole / 10
    after = [held for at, held in memory if WARM_UP * whole <= at < WARM_UP * whole + tenth]
    last = [held for at, held in memory if at >= whole - tenth]
    return statistics.median(last) / statistics.median(after) - 1


def random_model(directory: Path) -> str:
    """A model of four layers with a tokenizer of its own, never trained."""
    import torch

    from cutaway.corpus.built_in import built_in_documents
    from cutaway.model import ModelConfig, Transformer, save_model
    from cutaway.tokens import TokenizerSettings, train_tokenizer

    texts = [document.text for _, document in zip(range(200), built_in_documents(), strict=False)]
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=2000), texts, directory / "random")
    torch.manual_seed(0)
    model = Transformer(ModelConfig.from_depth(4, tokenizer.vocab_size, context=512))
    save_model(model, directory / "random", token_ids=tokenizer.token_ids)
    return str(directory / "random")


async def measure(server: Server, given: argparse.Namespace) -> bool:
    found, began = Found(), time.monotonic()
    end = began + given.minutes * 60
    clients = [client(server, given.seed + i, end, found, given) for i in range(given.clients)]
    await asyncio.gather(watch(server, end, found, kill=given.kill), *clients)
    taken, seconds = await idle(server.port), time.monotonic() - began
    first = sorted(found.first_tokens)
    grown = growth(found.memory)
    rows = [[what, f"{count:,}"] for what, count in found.outcomes.most_common()]
    rows += [
        ["tokens a second, as clients saw them", f"{found.tokens / seconds:,.0f}"],
        ["time to first token, median", f"{statistics.median(first):.2f} s"],
        ["time to first token, 99 of 100", f"{first[int(0.99 * len(first))]:.2f} s"],
        [
            "memory after the warm-up, at the end",
            f"{found.memory[int(WARM_UP * len(found.memory))][1]:,.0f} MiB, {found.memory[-1][1]:,.0f} MiB",
        ],
        ["growth", f"{grown:+.1%}"],
        ["places still taken at the end", f"{taken:.0f}"],
    ]
    print(markdown_table([f"{given.clients} clients for {given.minutes:g} min", ""], rows))
    for text in found.broken[:5]:
        print(f"broken: {text}", file=sys.stderr)
    return not (taken or found.outcomes["broken"] or grown > MOST_GROWTH)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", help="what to serve; a random model where none is named")
    options.add_argument("--clients", type=int, default=200)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--tokens", type=int, default=48, help="longest answer")
    options.add_argument("--hang-up", type=float, default=0.2, help="share of requests whose client hangs up")
    options.add_argument("--kill", action="store_true", help="kill the server in the middle and start it again")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        server = Server([given.model or random_model(Path(name))], 0, Path(name))
        try:
            held = asyncio.run(measure(server, given))
        finally:
            server.stop()
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
