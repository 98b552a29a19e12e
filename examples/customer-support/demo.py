"""Show a memory at work: two agents share a support ticket. Run it with `make demo`, or `make demo KEEP=1`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from agent_memory import AgentMemoryError, Appended, AsyncMemory, AsyncMemoryClient
from agents import Line, read_conversation, work_together
from stage import KEY, MANIFEST, MEMORY, NAMESPACE, Stage, kubectl_command, set_up

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "triage": "36", "resolver": "35"}


def styled(style: str, text: str) -> str:
    """Return text in a style when the terminal shows it."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if COLOUR else text


def heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n{styled('bold', text)}", flush=True)


def announce(what: str, how: str, seconds: float) -> None:
    """Print one part of the stage."""
    print(f"  {styled('green', 'ok')}  {what:9} {how} {styled('dim', f'{seconds:.1f} s')}", flush=True)


def bar(used: int, limit: int, width: int = 12) -> str:
    """Draw how much of a limit is used."""
    filled = round(width * used / limit)
    return "█" * filled + "░" * (width - filled)


def snippet(line: Line, width: int) -> str:
    """Return the beginning of what a message says."""
    message = line.message
    calls = ", ".join(f"{call['function']['name']}()" for call in message.get("tool_calls", ()))
    text = f"calls {calls}" if calls else message["content"]
    return text if len(text) <= width else text[: width - 1] + "…"


class Screen:
    """Prints each message as it is acknowledged, with the token budget and what was evicted for it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.tokens = self.messages = self.evicted = 0

    async def show(self, line: Line, answer: Appended) -> None:
        """Print one acknowledged message."""
        (stored,) = answer.messages
        self.messages += 1
        self.tokens += stored.tokens
        self.evicted += len(answer.evicted)
        agent = styled(line.agent, f"{line.agent:8}")
        budget = f"{bar(answer.totals.tokens, self._limit)} {answer.totals.tokens:4}/{self._limit}"
        role = styled("dim", f"{line.message['role']:9}")
        print(f"  #{stored.seq:<3} {agent} {role} {budget}  {snippet(line, 64)}", flush=True)
        if answer.evicted:
            whole = " (a tool call goes with its result)" if len(answer.evicted) > 1 else ""
            print(styled("yellow", f"       evicted {', '.join(answer.evicted)}{whole}"), flush=True)


async def refusal(what: str, attempt: Callable[[], Awaitable[object]]) -> None:
    """Print how the memory refuses something."""
    try:
        await attempt()
    except AgentMemoryError as error:
        print(f"  {what}\n    {styled('red', f'{error.status} {error.reason}')}: {error.detail}")
    else:
        raise AssertionError(f"{what}: this should have been refused")


async def show_refusals(client: AsyncMemoryClient, memory: AsyncMemory) -> None:
    """Try three writes that must not happen."""
    heading("What a refused write looks like")
    essay = {"role": "user", "content": "I have a long story to tell. " * 400}
    await refusal("a message that can never fit:", lambda: memory.append(essay))
    note = {"role": "assistant", "content": "Closed."}
    await refusal("a decision on an outdated view:", lambda: memory.append(note, expected_version=1))
    await refusal("the memory of another team:", lambda: client.memory("payroll", key=KEY).append(note))


async def show_change(stage: Stage, memory: AsyncMemory) -> None:
    """Change the object and wait until the running sidecar obeys."""
    heading("kubectl apply of a larger budget, while the sidecar runs")
    stage.cluster.apply(MANIFEST.read_text().replace("maxTokens: 1000", "maxTokens: 4000"))
    began = time.monotonic()
    while (await memory.describe()).limits["max_tokens"] != 4000:
        if time.monotonic() - began > 10:
            raise TimeoutError("the change did not reach the sidecar within 10 s")
        await asyncio.sleep(0.01)
    print(f"  1000 -> 4000 tokens, effective {1000 * (time.monotonic() - began):.0f} ms after kubectl was done")


async def converse(stage: Stage) -> None:
    """Let the agents work, then show what the memory holds."""
    lines = read_conversation()
    async with AsyncMemoryClient(stage.socket) as client:
        memory = client.memory(MEMORY)
        description = await memory.describe()
        screen = Screen(description.limits["max_tokens"])
        heading(f"Two agents, one memory: {len(lines)} messages on {KEY}")
        began = time.monotonic()
        await work_together(lines, memory, screen.show)
        took = time.monotonic() - began
        stats = await memory.stats()
        heading("What the memory holds")
        print(f"  {screen.messages} messages in {took:.1f} s: {screen.tokens} tokens, {screen.evicted} evicted")
        print(f"  {stats.totals.messages} messages, {stats.totals.tokens} tokens stored: {dict(stats.roles)}")
        print(f"  sequence numbers 1 to {stats.last_seq} without a gap; expires {stats.expires_at}")
        await show_refusals(client, memory)
        await show_change(stage, memory)


def show_objects(stage: Stage) -> None:
    """Print what an administrator sees."""
    heading("kubectl get mem")
    for line in stage.cluster.kubectl("get", "mem", "--namespace", NAMESPACE).splitlines():
        print(f"  {line}")


def wait_for_ctrl_c(stage: Stage) -> None:
    """Leave everything running until the person has seen enough."""
    heading("Everything is still running. Try next, in another terminal:")
    print(f"  {kubectl_command(stage)} describe mem {MEMORY} -n {NAMESPACE}")
    print(f"  curl -s --unix-socket {stage.socket} http://memory/v1/memories/{MEMORY}/stats")
    print(f"  .venv/bin/memctl --socket {stage.socket} read {MEMORY}")
    print("\nCtrl-C stops and removes it all.", flush=True)
    signal.pause()


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is removed then, too
    heading("Setting the stage")
    try:
        with set_up(announce) as stage:
            asyncio.run(converse(stage))
            show_objects(stage)
            if keep:
                wait_for_ctrl_c(stage)
    except KeyboardInterrupt:
        print("\nstopped; everything was removed")
        return 0 if keep else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
