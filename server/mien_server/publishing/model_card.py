"""``MODEL_CARD.md`` of a release: what ``card.json`` says, for a person who wants to use the model.

Enters: the release's card. Leaves: Markdown. What is not known is called not known; the headings follow
Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

from typing import Final

from pydantic import JsonValue

from mien_common.card import Agreement, ModelCard, ReleaseFacts
from mien_common.errors import ModelError
from mien_server.rules.settings import USES

NOT_GIVEN: Final = ("AU14_r",)
"""Action units whose formula is an experiment: agents give the network 0 for them and their deltas."""

_TRAINED_WITH: Final = (
    ("rounds", "rounds planned"),
    ("quorum", "quorum"),
    ("fraction", "share of the sites online that a round asks"),
    ("seed", "seed"),
    ("training", "at each site"),
)


def model_card(card: ModelCard) -> str:
    """The page of ``card``, which must be that of a release."""
    facts = card.release
    if facts is None:
        raise ModelError("only a release has a model card; promote the model first.")
    sections = (
        _head(card, facts),
        _INTENDED,
        _inputs(card),
        _training(card, facts),
        _quality(card),
        _privacy(facts),
        _LIMITS,
        _files(card, facts),
    )
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _head(card: ModelCard, facts: ReleaseFacts) -> str:
    return f"""
# Valence and arousal from action units, release {facts.version}

Round {card.round} of run `{card.run}`, trained {card.created[:10]}, released {facts.created[:10]}:
{card.architecture.in_words}{_norm_words(card)}. It reads a face's action-unit traces and gives valence
(how pleasant) and arousal (how activated), each from −1 to 1, {_per(card)}.
"""


_INTENDED: Final = """
## Intended use

Research on affect with people who agreed to it: a continuous estimate of how human raters would rate what a
face shows. It estimates ratings, not what a person feels.

Not for decisions about a person (work, school, insurance, justice, medicine), not for people who have not
agreed, and not for finding out who somebody is. Where the European AI Act holds, inferring emotions at work
or in education is forbidden but for medical or safety reasons (Article 5): ask before you do.
"""


def _inputs(card: ModelCard) -> str:
    left_out = ", ".join(f"`{name}`" for name in NOT_GIVEN)
    return f"""
## What goes in and comes out

Schema `{card.schema_name}`: {len(card.channels)} channels at {card.rate_hz:g} Hz, in the order of
`channels` in `card.json`. They are AU-*like* intensities and head rotations, measured above the person's own
neutral face, and their differences from frame to frame. Before they are given to the model:

1. each channel is standardised with mean and standard deviation of the site's own training recordings (of the
   recording itself where there is no site);
2. what is missing becomes 0, and so do {left_out} and its delta, always.

Where no face was seen the output means nothing: leave it out. Out come {" and ".join(card.targets)},
{_per(card)}.
"""


def _training(card: ModelCard, facts: ReleaseFacts) -> str:
    frames = sum(site.frames for site in card.sites)
    names = ", ".join(site.site for site in card.sites)
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    minutes = frames / card.rate_hz / 60
    rows = [
        f"| run, round | `{card.run}`, {card.round} |",
        f"| sites in that round | {len(card.sites)} ({names or 'none'}) |",
        f"| frames in that round | {frames:,} ({minutes:.1f} minutes at {card.rate_hz:g} Hz) |",
        *_rule_row(facts.training.get("rule")),
        *(
            f"| {words} | {_plain(facts.training[name])} |"
            for name, words in _TRAINED_WITH
            if name in facts.training
        ),
        f"| versions | {versions or 'not known'} |",
    ]
    unknown = "" if facts.training else "\nThe run's other settings are not known any more.\n"
    return "\n".join(
        [
            "## How it was trained",
            "",
            "By federated learning: no recording, feature or rating left its site, only updates of the "
            "weights, and sums for the CCC.",
            "",
            "| | |",
            "|---|---|",
            *rows,
            unknown,
        ]
    )


def _rule_row(rule: JsonValue) -> list[str]:
    """The federated rule, with those of its numbers that it looks at."""
    if not isinstance(rule, dict):
        return []
    used = next((numbers for name, numbers in USES.items() if name == rule.get("name")), frozenset())
    numbers = _plain({name: value for name, value in rule.items() if name in used})
    return [f"| rule | {rule.get('name')}{f': {numbers}' if numbers else ''} |"]


def _quality(card: ModelCard) -> str:
    lines = [
        "## How well it does",
        "",
        "Concordance correlation (CCC, 1 is perfect, 0 is chance) with the sites' own ratings, on recordings "
        "that they held out.",
        "",
        "| | mean over recordings (AVEC's rule) | pooled | worst site (pooled) |",
        "|---|---|---|---|",
    ]
    for target in card.targets:
        worst = card.worst_site.get(target)
        lines.append(
            f"| {target} | {_number(card.ccc.get(target), 'mean_over_recordings')} "
            f"| {_number(card.ccc.get(target), 'pooled')} "
            f"| {_number(worst, 'pooled')}{f' ({worst.site})' if worst else ''} |"
        )
    lines += [
        "",
        "Held-out recordings may be of people who were also trained on. Of strangers, expect less; of "
        "another camera, language or task, measure before you rely on it.",
    ]
    return "\n".join(lines)


def _privacy(facts: ReleaseFacts) -> str:
    if facts.mechanism is None:
        spent = (
            "**ε: no mechanism.** Nothing made this training differentially private, so nothing bounds what "
            "the weights may tell of the recordings they were trained on. No attack on them was measured."
        )
    else:
        known = "not known" if facts.epsilon is None else f"{facts.epsilon:g}"
        spent = f"**ε: {known}**, by {facts.mechanism}."
    return f"""
## Privacy

{spent}

**Action-unit traces are not anonymous.** A person can be found again among others by the traces that this
model reads. Measured with `mien lab reidentify` on 22 public clips of 7 people, one to four seconds each: by
nothing but the mean of its action units, above the neutral face learnt from it, a clip led to another clip
of the same person in 18 of 20 tries (raw action units: in 20), where guessing gives 3 or 4. With each clip's
own median taken off first it was 2, which says little: that attack looks at means only. Each person's clips
are of one sitting. Seven people are too few for a rate that holds elsewhere: longer recordings or a better
attack may find more, many people and other days fewer. Treat traces, and what this model makes of them, as
personal data.
"""


_LIMITS: Final = """
## Limits

- Raters see a face and a situation; this model sees muscle movements of a face, and nothing else.
- The AU-like channels were rated by no certified coder. Other extractors' action units are on other scales.
- It was trained on whoever came to its sites. How it does for other ages, skin tones, cultures, face
  coverings or conditions of the face has not been measured.
- Raters' own habits are in it, their lag too.
"""


def _files(card: ModelCard, facts: ReleaseFacts) -> str:
    streams = card.architecture.streams
    states = (
        """
It is one graph for a recording and for a stream: give as many frames as there are. Its other inputs are the
states before the first of them: zeros at the start, and from then on the `next_…` outputs of the call
before.

```python
import numpy, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
states = {
    given.name: numpy.zeros([1 if isinstance(size, str) else size for size in given.shape], "float32")
    for given in session.get_inputs()[1:]
}
names = [output.name for output in session.get_outputs()]
for features in chunks:  # each (1, frames, channels), float32
    found = dict(zip(names, session.run(names, {"features": features, **states})))
    states = {name: found[f"next_{name}"] for name in states}
    print(found["prediction"])
```
"""
        if streams
        else """
This model needs a whole recording, so the graph has no state, and a live stream is not for it.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(prediction,) = session.run(["prediction"], {"features": features})  # (1, frames, channels), float32
```
"""
    )
    return f"""
## Files

`model.safetensors` is for Mien. `model.onnx` (opset {facts.opset}) is for everything else.
{states}
`card.json` says all of this for programs. To check what you have:

    sha256sum --check SHA256SUMS
    openssl pkeyutl -verify -rawin -pubin -inkey release.pub -in SHA256SUMS -sigfile SHA256SUMS.sig
"""


def _norm_words(card: ModelCard) -> str:
    return ", with channel normalisation" if card.architecture.input_norm else ""


def _per(card: ModelCard) -> str:
    return "a pair per frame" if card.architecture.predicts == "frames" else "one pair per window"


def _number(found: Agreement | None, rule: str) -> str:
    value = getattr(found, rule) if found is not None else float("nan")
    return "not known" if value != value else f"{value:.3f}"


def _plain(value: JsonValue) -> str:
    """A setting for a cell: nested ones in a row, what was left at nothing left out."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items() if item is not None)
    return "yes" if value is True else "no" if value is False else str(value).replace("|", "/")
