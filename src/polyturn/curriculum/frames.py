"""How turns are phrased: frames around a literal, around a family's noun phrase, and around functions.

In a frame {s} stands for the phrase, {y} for the variable that receives the value, {f} for a function, {p}
for its parameters with their kinds ("a number lamp"), {q} for the bare parameters.
"""

from dataclasses import dataclass
from functools import cache
from random import Random

from polyturn.curriculum.values import weighted

SET = (
    "Set {y} to {s}",
    "Assign {s} to {y}",
    "Assign {s} to a variable named {y}",
    "Assign {s} to the variable {y}",
    "Store {s} in {y}",
    "Store {s} in a variable called {y}",
    "Let {y} be {s}",
    "Save {s} as {y}",
    "Put {s} in {y}",
    "Define {y} as {s}",
    "Create a variable {y} that holds {s}",
    "Create a variable named {y} and set it to {s}",
    "Keep {s} in the variable {y}",
)
"""A literal for a variable; the phrase may carry its kind ("the number 42")."""

SET_KIND = (
    "Create {n} {y} with the value {s}",
    "Create {n} named {y} equal to {s}",
    "Make {n} called {y} that is {s}",
    "Start with {n} {y} set to {s}",
    "Define {n} {y} as {s}",
)
"""The same where the kind ({n}, with its article) stands apart from the value."""

SET_EMPTY = (
    "Create {n} named {y}",
    "Start with {n} called {y}",
    "Make {n} {y}",
    "Let {y} be {n}",
    "Set {y} to {n}",
)

SET_TWO = (
    "Set {y} to {s} and {z} to {t}",
    "Let {y} be {s} and {z} be {t}",
    "Assign {s} to {y} and {t} to {z}",
    "Store {s} in {y} and {t} in {z}",
    "Create two variables: {y} with the value {s} and {z} with the value {t}",
)

COMPUTE = (
    "Store {s} in {y}",
    "Assign {s} to {y}",
    "Assign {s} to a variable named {y}",
    "Set {y} to {s}",
    "Let {y} be {s}",
    "Compute {s} and store the result in {y}",
    "Compute {s} and save it as {y}",
    "Find {s} and call it {y}",
    "Get {s} and assign it to {y}",
    "Calculate {s} and put the result in {y}",
    "Put {s} in {y}",
    "Save {s} as {y}",
    "Save {s} in a variable called {y}",
    "Create a variable {y} that holds {s}",
    "Define {y} as {s}",
    "Store in {y} {s}",
    "Make {y} equal to {s}",
)

REPLACE = (
    "Replace {a} with {s}",
    "Update {a} to {s}",
    "Change {a} to {s}",
    "Set {a} to {s}",
    "Reassign {a} to {s}",
)
"""The result takes the place of the input."""

CHECK = (
    "Store in {y} whether {s}",
    "Check whether {s} and store the result in {y}",
    "Check if {s} and save the answer in {y}",
    "Set {y} to True if {s}, and to False otherwise",
    "Let {y} be True if {s}, otherwise False",
    "Determine whether {s} and assign the answer to {y}",
    "Test whether {s} and keep the result in {y}",
    "Find out if {s} and store the answer in {y}",
    "Save in {y} whether {s}",
)

LOOP = (
    "With a loop, {r}",
    "Using a loop, {r}",
    "Use a loop to {r}",
    "{h} with a loop",
    "{h}, using a loop",
)
"""Around an assignment that is to be written out as statements; {r} and {h} are that intent, with a small
and a capital letter."""

PRINT = (
    "Print {s}",
    "Print {s}",
    "Print {s}",
    "Print out {s}",
    "Show {s}",
    "Display {s}",
    "Output {s}",
    "Compute {s} and print the result",
    "Calculate {s} and print the result",
    "Find and print {s}",
)

PRINT_VARIABLE = (
    "Print {s}",
    "Print {s}",
    "Print {s}",
    "Print out {s}",
    "Show {s}",
    "Display {s}",
    "Output {s}",
    "Print the value of {s}",
    "Show the value of {s}",
    "Display the value of {s}",
    "Now print {s}",
    "Print the variable {s}",
)

PRINT_SEVERAL = (
    "Print {s}",
    "Print {s} on one line",
    "Show {s}",
    "Display {s} on one line",
    "Print the values of {s}",
    "Output {s}",
)

PRINT_CHECK = (
    "Print whether {s}",
    "Print True if {s}, otherwise print False",
    "Check whether {s} and print the result",
    "Check if {s} and print the answer",
    "Show whether {s}",
)

DEFINE = (
    "Define a function {f} that takes {p} and returns {s}",
    "Write a function {f} that takes {p} and returns {s}",
    "Create a function called {f} that takes {p} and returns {s}",
    "Define a function named {f} with {m} {q} that returns {s}",
    "Write a function called {f} with {m} {q}. It returns {s}",
    "Make a function {f} which, given {p}, returns {s}",
    "Define {f}, a function that takes {p} and gives back {s}",
)

DEFINE_LAMBDA = (
    "Create a lambda named {f} that takes {p} and returns {s}",
    "Define {f} as a lambda of {q} that returns {s}",
    "Assign to {f} a lambda that takes {p} and returns {s}",
)

CALL = (
    "Call {f} with {s} and store the result in {y}",
    "Call {f} on {s} and assign the result to {y}",
    "Apply {f} to {s} and save the result as {y}",
    "Store the result of calling {f} with {s} in {y}",
    "Set {y} to the result of {f} for {s}",
    "Use {f} on {s} and keep the result in {y}",
    "Let {y} be the result of {f} applied to {s}",
)

CALL_PRINT = (
    "Call {f} with {s} and print the result",
    "Print the result of calling {f} with {s}",
    "Print the result of {f} applied to {s}",
    "Print what {f} returns for {s}",
    "Apply {f} to {s} and print the result",
    "Show the result of {f} for {s}",
)

COPY = (
    "Copy {s} to {y}",
    "Set {y} to the value of {s}",
    "Assign the value of {s} to {y}",
    "Let {y} have the same value as {s}",
    "Store the value of {s} in {y}",
)


def frame(rng: Random, table: tuple[str, ...], phrase: str) -> str:
    """One of the frames that suit a noun phrase: nothing may follow a choice, and `as` not follow on `as`."""
    if phrase.endswith(" otherwise") or ", else " in phrase:
        return rng.choice(_ending(table))
    if " as " in phrase:
        return rng.choice(_without_as(table))
    return rng.choice(table)


@cache
def _ending(table: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(frame for frame in table if frame.endswith("{s}"))


@cache
def _without_as(table: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(frame for frame in table if " as {y}" not in frame)


@dataclass(frozen=True)
class Style:
    """How one program's intents are written."""

    name_quote: str
    """Around names: nothing, `"` or a backtick."""
    text_quote: str
    """Around strings, in intents and in code alike."""
    stop: bool
    """Whether intents end with a full stop."""
    capital: bool
    """Whether intents start with a capital letter."""

    def name(self, name: str) -> str:
        return f"{self.name_quote}{name}{self.name_quote}"

    def sentence(self, text: str) -> str:
        """`text` as a whole intent. Its first letter is the frame's own: no frame starts with a name."""
        text = text if self.capital else text[0].lower() + text[1:]
        return text + "." if self.stop else text


def style(rng: Random) -> Style:
    """Names plain in 60 % of programs, in double quotes in 30 %, in backticks in 10 %.

    Where names stand in double quotes, strings stand in single ones.
    """
    name_quote = weighted(rng, ((60, ""), (30, '"'), (10, "`")))
    text_quote = "'" if name_quote == '"' or rng.random() < 0.7 else '"'
    return Style(name_quote, text_quote, stop=rng.random() < 0.88, capital=rng.random() < 0.93)
