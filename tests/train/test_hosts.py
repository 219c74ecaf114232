"""What processes agree on, over a store in memory instead of JAX's."""

from collections import defaultdict
from itertools import count

import jax
import pytest

from polyturn.parallel import messages
from polyturn.train import hosts
from polyturn.utils.errors import UserError


@pytest.mark.parametrize(
    ("error", "others"),
    [(UserError("No room."), UserError), (OSError("no room"), RuntimeError), (KeyError(3), RuntimeError)],
)
def test_what_ends_the_leading_process_ends_the_others_with_the_same_exit_code(
    error: Exception, others: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of the user is one for all (code 2), anything else for none (code 1)."""
    store: dict[str, list[str]] = defaultdict(list)
    monkeypatch.setattr(messages, "put", lambda place, text, name="0": store[place].append(text))
    monkeypatch.setattr(messages, "look", lambda place: store[place])
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def work() -> None:
        raise error

    for index, expected in ((0, type(error)), (1, others)):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(hosts, "_numbers", count())
        with pytest.raises(Exception, match=str(error)) as raised:
            hosts.decide(work)
        assert raised.type is expected
