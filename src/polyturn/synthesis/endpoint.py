"""A model behind an OpenAI-compatible address, as a completer: `/v1/completions` or `/v1/chat/completions`.

    endpoint = Endpoint("http://localhost:8000/v1", "polyturn-micro-mono")
    for index, completion in endpoint.complete_texts(requests): ...

One HTTP request is one sample with its own seed, so a lost one can be asked for again and nothing else changes.
Several are under way at a time, on threads: they only wait. What goes over the wire is in
`polyturn.synthesis.wire`; here is when it goes, and how often.

A server that is busy or stumbles is asked again: after a connection that failed or broke off, an answer that is no
whole JSON, and 408, 409, 429 and 5xx, with growing random pauses, or the pause that it asks for, which then holds
for all requests. What stays wrong ends in a UserError, after what had come is yielded.
"""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from queue import SimpleQueue

import httpx2

from polyturn.engine.types import Completion, TextRequest
from polyturn.synthesis import wire
from polyturn.synthesis.turns import is_text
from polyturn.utils.errors import UserError, reason

KEYS = ("POLYTURN_API_KEY", "OPENAI_API_KEY")
ATTEMPTS = 6
BACKOFF_S = 0.5  # the first pause at most; each further one is at most twice as long
LONGEST_PAUSE_S = 300  # that a server may ask for
CONNECT_S = 10
SAY_EVERY_S = 5


@dataclass
class Usage:
    """Tokens of all answers so far, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Endpoint:
    """A completer elsewhere, see `polyturn.synthesis.completer`.

    Attributes:
        name: the model asked for.
        digest: empty, as nobody can know which weights answer.
        width: how many requests are under way at a time.
        context: None; an answer that a text is too long is a sample with finish reason "context".
        usage: tokens so far.
        base: the address that was given, without a slash at its end.

    A sample's text is cut by all stop strings and by `complete`, as our engine's is. Where both are given, the
    stop string that came first ends the text at the server, before `complete` could look behind it.
    """

    digest = ""
    context = None

    def __init__(
        self,
        url: str,
        model: str,
        *,
        chat: bool = False,
        concurrency: int = 8,
        requests_per_minute: float | None = None,
        timeout_s: float = 600,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Say where the model is. Nothing is asked yet.

        The key comes from the environment, POLYTURN_API_KEY or else OPENAI_API_KEY, and goes nowhere but into the
        requests. Without one none is sent, which suits most servers of one's own.

        Args:
            url: the address that `/completions` is put behind, so mostly one that ends in `/v1`.
            model: the name by which the server knows the model.
            chat: ask `/chat/completions` to continue the program, for models that only chat.
            concurrency: how many requests are under way at a time.
            requests_per_minute: the most that are sent, further attempts included; no limit by default.
            timeout_s: how long an answer may take.
            say: gets a sentence about a request that is to be sent again, at most one in `SAY_EVERY_S`.

        Raises:
            UserError: the address or the key cannot be one, or a number is out of its range.
        """
        if concurrency < 1 or (requests_per_minute is not None and requests_per_minute <= 0) or timeout_s <= 0:
            raise UserError("Concurrency must be 1 or more, requests per minute and the time limit more than 0.")
        self.name = model
        self.width = concurrency
        self.usage = Usage()
        self.chat = chat
        self.base = _checked(url)
        self.url = self.base + ("/chat/completions" if chat else "/completions")
        self._key = _key(os.environ)
        self._timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
        self._pace = Pace(requests_per_minute)
        self._lock = threading.Lock()
        self._say = say
        self._quiet_until = 0.0

    def complete_texts(self, requests: Sequence[TextRequest]) -> Iterator[tuple[int, Completion]]:
        """One sample for each request, with its index, each as it comes.

        Raises:
            UserError: the endpoint cannot be used, or the answer to one request stays away. The others that were
                under way have then been yielded.
        """
        for request in requests:
            if not all(map(is_text, request.pieces)):
                raise UserError("A text holds half characters (lone surrogates) and cannot be sent; save it as UTF-8.")
        waiting = deque(enumerate(requests))
        done: SimpleQueue[tuple[int, Completion] | Exception | None] = SimpleQueue()
        stopped = threading.Event()

        def work(client: httpx2.Client) -> None:
            try:
                while not stopped.is_set() and (taken := _take(waiting)):
                    index, request = taken
                    completion = self._ask(client, request, stopped)
                    if completion is not None:
                        done.put((index, completion))
            except Exception as error:
                done.put(error)
            finally:
                done.put(None)

        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        working = min(self.width, len(requests))
        limits = httpx2.Limits(max_connections=self.width, max_keepalive_connections=self.width)
        failure: Exception | None = None
        with httpx2.Client(headers=headers, timeout=self._timeout, limits=limits) as client:
            # daemons, for which a process that ends on Ctrl-C does not wait
            for _ in range(working):
                threading.Thread(target=work, args=(client,), daemon=True).start()
            try:
                while working:
                    match done.get():
                        case None:
                            working -= 1
                        case Exception() as error:
                            failure = failure or error
                            stopped.set()
                        case found:
                            yield found
            finally:
                stopped.set()
        if failure is not None:
            raise failure

    def _ask(self, client: httpx2.Client, request: TextRequest, stopped: threading.Event) -> Completion | None:
        """Draw one sample, in several attempts if need be; None if `stopped` came in between."""
        body = wire.body(request, self.name, self.chat)
        trouble, asked = "", 0.0
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = random.uniform(0.5, 1) * BACKOFF_S * 2 ** (attempt - 1)
                self._tell(trouble, attempt + 1, max(pause, asked))
                stopped.wait(pause)
            asked = 0.0
            self._pace.wait(stopped)
            if stopped.is_set():
                return None
            try:
                response = client.post(self.url, json=body)
                answer = _json(response)
            except httpx2.RequestError as error:
                trouble = f"the connection failed ({self._safe(reason(error))})"
                continue
            if response.is_success:
                if answer is None:
                    trouble = "its answer was not whole, or not JSON"
                    continue
                return self._read(answer, request)
            said = wire.message(answer if answer is not None else response.text)
            if wire.too_long(response.status_code, said):
                return Completion([], "", "context", [], 0)
            trouble = f"it answered {response.status_code} ({self._safe(said) or 'and nothing else'})"
            if response.status_code not in (408, 409, 429) and response.status_code < 500:
                raise UserError(f"{self.url} refuses: {trouble}; {_remedy(response.status_code)}.")
            asked = _pause(response.headers)
            if asked > LONGEST_PAUSE_S:
                raise UserError(f"{self.url} asks to wait {asked:.0f} s: {trouble}; go on after that.")
            self._pace.hold(asked)
        raise UserError(
            f"{self.url} gave no answer in {ATTEMPTS} attempts, the last time {trouble}; see that the server runs "
            "and that the address is right, or ask more slowly."
        )

    def _tell(self, trouble: str, attempt: int, pause: float) -> None:
        """Say that a request waits for its next attempt; not each of many that do so at the same time."""
        with self._lock:
            now = time.monotonic()
            if now < self._quiet_until:
                return
            self._quiet_until = now + SAY_EVERY_S
        self._say(f"{self.url}: {trouble}; attempt {attempt} of {ATTEMPTS} in {max(1, round(pause))} s.")

    def _read(self, answer: object, request: TextRequest) -> Completion:
        try:
            completion = wire.read(answer, request, self.name, self.chat)
        except UserError as error:
            raise UserError(f"{self.url}: {self._safe(str(error))}") from None
        prompt_tokens, completion_tokens = wire.usage(answer)
        with self._lock:
            self.usage.prompt_tokens += prompt_tokens
            self.usage.completion_tokens += completion_tokens
        return completion

    def _safe(self, said: str) -> str:
        """A foreign text, short, in one line and without our key, which some servers repeat."""
        return wire.excerpt(said.replace(self._key, "…") if self._key else said)


class Pace:
    """When the next request may go out, for all threads together."""

    def __init__(self, per_minute: float | None) -> None:
        """Allow `per_minute` requests, evenly spaced; None for any number."""
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, stopped: threading.Event) -> None:
        """Take the next place and wait for it, or until `stopped`."""
        while not stopped.is_set():
            with self._lock:
                now = time.monotonic()
                if self._next <= now:
                    self._next = now + self._gap
                    return
                pause = self._next - now
            stopped.wait(pause)

    def hold(self, seconds: float) -> None:
        """Let no request out for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def _take[T](waiting: deque[T]) -> T | None:
    """The first one, or None where another thread took the last."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _checked(url: str) -> str:
    """The address without a slash at its end. Raises UserError where it cannot be one, or holds a secret."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError("The endpoint's address must look like http://localhost:8000/v1.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise UserError(
            "The endpoint's address must have no user, password, query or fragment; put the key into POLYTURN_API_KEY."
        )
    return url.strip().rstrip("/")


def _key(environment: Mapping[str, str]) -> str:
    for name in KEYS:
        key = environment.get(name, "").strip()
        if key:
            if not key.isascii() or not key.isprintable() or " " in key:
                raise UserError(f"{name} holds blanks or special characters, which no key has; set it anew.")
            return key
    return ""


def _json(response: httpx2.Response) -> object:
    """The body, or None if it is no whole JSON."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _pause(headers: httpx2.Headers) -> float:
    """Seconds that a server asks to wait, 0 if it does not: `Retry-After` in seconds or as a date, or in ms."""
    try:
        if "retry-after-ms" in headers:
            pause = float(headers["retry-after-ms"]) / 1000
        else:
            pause = float(headers.get("retry-after", "0"))
    except ValueError:
        try:
            pause = parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
        except (KeyError, ValueError):
            return 0.0
    return max(pause, 0.0) if isfinite(pause) else 0.0


def _remedy(status: int) -> str:
    if status in (401, 403):
        return f"put the right key into {KEYS[0]}"
    if status == 404:
        return "see that the server has this model, and that the address is right: most end in /v1"
    if status < 400:
        return "give the address that it redirects to"
    return "mend what it names"
