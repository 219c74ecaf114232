"""A small OpenAI-compatible server, for tests: our engine, or no model and every fault a server can have.

    python openai_server.py [engine]

It prints its port. Without `engine` a text that begins with a line `fault NAME COUNT ...` is answered with that fault
the first COUNT times, and every other one with a text that tells its seed. `GET /log` lists what was asked.
"""

import json
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

CONTEXT = "This model's maximum context length is 2048 tokens. However, you requested 2049 tokens."


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Any = None
    lock = threading.Lock()
    log: ClassVar[list[dict[str, object]]] = []
    faults: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.send(200, self.log)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.log.append({"path": self.path, "headers": dict(self.headers), "body": asked, "at": time.monotonic()})
        if self.path not in ("/v1/completions", "/v1/chat/completions"):
            return self.error(404, "Not Found", None)
        chat = "chat" in self.path
        text = asked["messages"][0]["content"] if chat else asked["prompt"]
        if text.startswith("fault "):
            name, count = text.split()[1:3]
            with self.lock:
                self.faults[text] += 1
                due = self.faults[text] <= int(count)
            if due:
                return self.fail(name, asked)
        if chat:
            text = text.partition("```python\n")[2].removesuffix("```")
        with self.lock:
            answered = self.complete(asked, text)
        return self.answer(asked, *answered, chat=chat)

    def complete(self, asked: dict[str, Any], text: str) -> tuple[str, str, int, int]:
        """Text, finish reason, tokens of the prompt and of the sample."""
        if self.model is None:
            return f"seed = {asked.get('seed', 0)}\n", "stop", 5, 3
        ids = self.model.tokenizer.encode(text)
        if len(ids) + asked["max_tokens"] > self.model.context:
            return "", "context", 0, 0
        settings = {name: asked[name] for name in ("max_tokens", "temperature", "top_p", "seed")}
        (done,) = self.model.generate(text, stop=asked.get("stop") or (), **settings)
        reason = "length" if done.finish_reason == "length" else "stop"
        return done.text, reason, len(ids), len(done.ids)

    def answer(
        self, asked: dict[str, Any], text: str, reason: str, prompt: int, sample: int, *, chat: bool, **other: object
    ) -> None:
        if reason == "context":
            return self.error(400, CONTEXT, "context_length_exceeded")
        fenced = "```python\n" + text + ("" if reason == "length" else "\n```\nThat continues it.")
        said = {"message": {"role": "assistant", "content": fenced}} if chat else {"text": text}
        choice = {"index": 0, "logprobs": None, "finish_reason": reason, **said}
        usage = {"prompt_tokens": prompt, "completion_tokens": sample, "total_tokens": prompt + sample}
        kind = "chat.completion" if chat else "text_completion"
        whole = {"id": "1", "object": kind, "created": 1, "model": asked["model"], "choices": [choice], "usage": usage}
        return self.send(200, whole | other)

    def fail(self, name: str, asked: dict[str, Any]) -> None:
        """Answer in the way that `name` says."""
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        normal = ("x = 1\n", "stop", 5, 3)
        match name:
            case "drop":
                self.close_connection = True
            case "half":
                self.send(200, {"choices": []}, length=5000)
                self.close_connection = True
            case "truncated":
                self.raw(200, b'{"model": "any", "choices": [{"text": "x')
            case "hang":
                time.sleep(20)
            case "slow":
                time.sleep(0.5)
                self.answer(asked, *normal, chat=False)
            case "page":
                self.raw(200, b"<html>hello</html>")
            case "after":
                self.error(429, "slow down", None, {"Retry-After": "1"})
            case "date":
                self.error(503, "later", None, {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
            case "long":
                self.error(429, "slow down", None, {"Retry-After": "3600"})
            case "key":
                self.error(401, f"Incorrect API key provided: {key}", "invalid_api_key")
            case "context400":
                self.error(400, CONTEXT, "context_length_exceeded")
            case "context500":
                self.error(500, "Context size has been exceeded.", None)
            case "other":
                self.answer(asked, *normal, chat=False, model="other-model")
            case "error200":
                self.send(200, {"error": {"message": "no such engine"}})
            case "strange":
                self.answer(asked, "x", "tool_calls", 5, 3, chat=False)
            case "moved":
                self.raw(301, b"", {"Location": "/v2/completions"})
            case status:
                self.error(int(status), f"a {status}\nof {key}", None)

    def error(self, status: int, message: str, code: str | None, headers: dict[str, str] | None = None) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self.send(status, {"error": error}, headers=headers)

    def send(
        self, status: int, answer: object, length: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.raw(status, json.dumps(answer).encode(), headers, length)

    def raw(self, status: int, data: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    if sys.argv[1:] == ["engine"]:
        import polyturn

        Handler.model = polyturn.load(strict=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
