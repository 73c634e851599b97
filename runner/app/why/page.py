"""The page of `runner explain why`: what is measured, and what each reason wants."""

from __future__ import annotations

from textwrap import fill

from runner.app.why.hints import all_hints

_TEXT = (
    "Shares are shares of time. What stands in a rule's way is looked at whenever its state"
    " changes, and once a second (four times in its first 20 s); what was found holds"
    " until the next look. So the time in a state is exact, and the parts of `when` are sampled.",
    "Where several reasons stand at once each gets an equal part of the time, so that the shares"
    ' add up. "Alone" is the time in which nothing else was in the way: what removing this one'
    " reason would have gained.",
    "The gravest is told first and hides the rest: a trade that is held, a rule that is disabled"
    " or done, the run's state, an exchange that is not ready, what is not warm, a refusal, `for`,"
    " `cooldown`, a rule that is not armed; then all parts of `when` that are not true.",
    "The nearest miss of a comparison is the least distance at any look at which it was false;"
    " what lies between two looks is not seen by it.",
    "Decisions are kept by rule and outcome, 32 of each, so that the one refusal outlives a"
    " million looks. Of a run that is over the journal tells them; of one that was killed, what"
    " was journaled as it happened, and the shares up to the last full minute.",
    "`--since` counts by the minute in the last hour and by the hour before.",
)


def page() -> str:
    """Return the page, with a line end."""
    lines = ["why", "", *(fill(part, 92) + "\n" for part in _TEXT), "what a reason wants:"]
    width = max(len(reason) for reason, _ in all_hints())
    lines += [f"  {reason:<{width}}  {hint}" for reason, hint in all_hints()]
    return "\n".join(lines) + "\n"
