"""A configuration is understood, or refused with one sentence that names the file and the key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mien_common.errors import SettingsError
from mien_lab.experiments.config import Config, read_config

GOOD = """
name = "GRU against LSTM"
corpus = { kind = "recola", path = "RECOLA" }
split = { kind = "k-fold", folds = 8 }
ratings = { lag_s = "grid" }
seeds = [1, 2]

[[models]]
name = "GRU"

[[models]]
name = "residual BiLSTM"
architecture = { kind = "lstm", bidirectional = true, residual = true }

[[methods]]
name = "centralised"
kind = "centralised"

[[methods]]
name = "FedProx"
kind = "federated"
rule = { name = "fedprox", proximal_mu = 0.1 }
participation = 0.5
"""

Read = Callable[[str], Config]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a text as the file ``compare.toml``."""

    def read_text(text: str) -> Config:
        (tmp_path / "compare.toml").write_text(text, encoding="utf-8")
        return read_config(tmp_path / "compare.toml")

    return read_text


def test_a_configuration_says_what_is_compared(read: Read, tmp_path: Path) -> None:
    config = read(GOOD)
    assert [model.architecture.kind for model in config.models] == ["gru", "lstm"]
    assert [method.rule.name for method in config.methods] == ["fedavg", "fedprox"]
    assert config.ratings.lag_s == "grid"
    assert config.seeds == (1, 2)
    assert config.corpus.path == tmp_path / "RECOLA"


def test_an_absolute_path_stays(read: Read) -> None:
    assert read(GOOD.replace('"RECOLA"', '"/data/RECOLA"')).corpus.path == Path("/data/RECOLA")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('"lstm"', '"lstn"', "models[1].architecture.kind: should be 'rnn', 'lstm' or 'gru', not 'lstn'."),
        (
            "residual = true",
            "residul = true",
            "models[1].architecture.residul: there is no such key. Did you mean residual?",
        ),
        ("seeds", "zzz", "zzz: there is no such key. There are name, protocol, corpus"),
        ("proximal_mu", "mu", "methods[1].rule.mu: there is no such key."),
        ('name = "GRU"', "", "models[0].name: is missing."),
        ('name = "GRU"', 'name = ""', "models[0].name: should have at least 1 character, not ''."),
        ("folds = 8", "folds = 1", "split.folds: should be greater than or equal to 2, not 1."),
        ("folds = 8", "folds = 2.5", "split.folds: should be a valid integer"),
        (", folds = 8", "", "split.folds: is missing. Give the number of folds of k-fold."),
        (
            '"k-fold"',
            '"official"',
            'split.folds: only kind = "k-fold" has a number of folds, official has not.',
        ),
        ('"grid"', '"grit"', "ratings.lag_s: should be \"grid\", or seconds from 0 to 10, not 'grit'."),
        ('"grid"', "-1", 'ratings.lag_s: should be "grid", or seconds from 0 to 10, not -1.'),
        ('"grid"', "nan", 'ratings.lag_s: should be "grid", or seconds from 0 to 10, not nan.'),
        ('"grid"', "true", 'ratings.lag_s: should be "grid", or seconds from 0 to 10, not True.'),
        ('"grid"', '"grid", lag_from_s = 6', "ratings.lag_from_s: should be less than lag_to_s (6), not 6."),
        (
            '"grid"',
            '"grid", lag_to_s = 1, lag_step_s = 2',
            "ratings.lag_step_s: 2 is more than all of the grid.",
        ),
        ('"grid"', '2, lag_of = "site"', "ratings.lag_of: a lag per site has to be chosen."),
        (', path = "RECOLA"', "", "corpus.path: is missing. Give the folder of the recola data."),
        ('"recola"', '"synthetic"', "corpus.path: synthetic data are made from their seed, not read."),
        ('"RECOLA"', '"RECOLA", participants = 3', "corpus.participants: only data that are made"),
        ('"residual BiLSTM"', '"gru"', "models[1].name: 'gru' is too much like 'GRU'. Rename one of them."),
        ('"FedProx"', '"centralised"', "methods[1].name: 'centralised' is too much like 'centralised'."),
        ("[1, 2]", "[1, 1]", "seeds: one is there twice"),
        ("[1, 2]", "[]", "seeds: "),
        ("bidirectional = true", 'predicts = "window"', "models[1].architecture.predicts: a pair per window"),
        ('kind = "federated"', 'kind = "local-only"', "methods[1].rule: local-only training has none."),
        (
            'kind = "centralised"',
            'kind = "centralised"\npersonalisation = "fine-tuning"',
            "methods[0].personalisation: only a federated model can be made a site's own",
        ),
        (
            "participation = 0.5",
            'personalisation = "local-head"',
            'methods[1].personalisation: local-head needs split.kind = "sessions", because a person nobody '
            "trained on has nothing to personalise with.",
        ),
        (
            "participation = 0.5",
            "participation = 0",
            "methods[1].participation: should be greater than 0, not 0",
        ),
        ("name =", "name == ", "is not TOML"),
    ],
)
def test_what_cannot_be_is_named(read: Read, before: str, after: str, sentence: str, tmp_path: Path) -> None:
    assert before in GOOD
    with pytest.raises(SettingsError) as caught:
        read(GOOD.replace(before, after, 1))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "compare.toml"))
    assert sentence in message
    assert "\n" not in message
    assert message.endswith((".", "?"))


def test_nothing_to_stop_by_is_said(read: Read) -> None:
    text = GOOD.replace("folds = 8", "folds = 8, validation_share = 0").replace(
        "seeds", "patience = 3\nseeds"
    )
    with pytest.raises(
        SettingsError, match=r"patience: nothing is kept to stop by, as split\.validation_share"
    ):
        read(text)


def test_local_normalisation_needs_something_to_keep(read: Read) -> None:
    text = GOOD.replace('kind = "k-fold", folds = 8', 'kind = "sessions"')
    text = text.replace("participation = 0.5", 'personalisation = "local-normalisation"')
    with pytest.raises(
        SettingsError, match=r"models\[0\] \(GRU\) has none\. Set its architecture's input_norm"
    ):
        read(text)
    mended = text.replace('name = "GRU"', 'name = "GRU"\narchitecture = { input_norm = true }')
    assert read(mended).methods[1].personalisation == "local-normalisation"


def test_windows_are_for_the_papers_protocol(read: Read) -> None:
    text = GOOD.replace("bidirectional = true", 'predicts = "window"').replace(
        "seeds", 'protocol = "mase2021"\nseeds'
    )
    assert read(text).models[1].architecture.predicts == "window"


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml cannot be read"):
        read_config(tmp_path / "nothing.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"odd\.toml cannot be read"):
        read_config(tmp_path / "odd.toml")
    (tmp_path / "empty.toml").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"empty\.toml: name: is missing"):
        read_config(tmp_path / "empty.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "proximal_mu = 0.1",
            "proximal_mu = 0.1, byzantine_sites = 2",
            r"methods\[1\]\.rule\.byzantine_sites: fedprox does not look at it\. It is for krum, multi-krum,",
        ),
        (
            '"fedprox", proximal_mu = 0.1',
            '"bulyan"',
            r"methods\[1\]\.rule\.byzantine_sites: tell bulyan how many",
        ),
        (
            "participation = 0.5",
            "fine_tuning_epochs = 3",
            r"methods\[1\]\.fine_tuning_epochs: nothing is fine-tuned",
        ),
        (
            "bidirectional = true",
            "channels = 40",
            r"models\[1\]\.architecture\.channels: the data say how many",
        ),
    ],
)
def test_a_number_that_nothing_looks_at_is_refused(read: Read, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError, match=said):
        read(GOOD.replace(old, new))
