"""How well a global model does, from the sites' sufficient statistics.

Enters: one set of sums per held-out recording. Leaves: CCC by both rules; no trace was ever sent.
"""

import logging
from collections.abc import Iterable, Mapping

import numpy as np
from flwr.app import RecordDict

from mien_common.ccc import Moments, ccc_from_moments
from mien_common.errors import FederationError
from mien_common.messages import EvaluateReport, unpack
from mien_common.published import Agreement, SiteAgreement
from mien_common.schema import TARGETS
from mien_server.runs.site_words import printable

log = logging.getLogger(__name__)


def read_reports(
    contents: Mapping[str, RecordDict], round_: int
) -> tuple[list[EvaluateReport], dict[str, str]]:
    """The evaluations in sites' replies, and why those that are left out do not hold, by site."""
    reports, rejected = [], {}
    for site, content in contents.items():
        try:
            report = unpack(content, EvaluateReport)
            if (report.site, report.round) != (site, round_):
                raise FederationError(f"it is of {report.site!r}, round {report.round}")
            reports.append(report)
        except FederationError as error:
            rejected[site] = printable(f"evaluation rejected: {error}")
            log.warning("event=evaluation_rejected round=%d site=%s reason=%s", round_, site, rejected[site])
    return reports, rejected


def agreement(reports: Iterable[EvaluateReport]) -> dict[str, Agreement]:
    """CCC of valence and arousal over all recordings of all reports.

    Recordings whose CCC is undefined (too few frames, ratings that never change) do not enter the mean over
    recordings; NaN where none is left.
    """
    recordings = [recording for report in reports for recording in report.recordings]
    found = {}
    for target in TARGETS:
        moments: list[Moments] = [getattr(recording, target) for recording in recordings]
        values = [value for value in map(_ccc, moments) if not np.isnan(value)]
        found[target] = Agreement(
            mean_over_recordings=float(np.mean(values)) if values else float("nan"),
            pooled=_ccc(sum(moments, Moments())),
        )
    return found


def by_site(reports: Iterable[EvaluateReport]) -> dict[str, dict[str, Agreement]]:
    """CCC of valence and arousal over each site's own recordings, by the site's name."""
    return {report.site: agreement([report]) for report in reports}


def worst_site(each: Mapping[str, Mapping[str, Agreement]]) -> dict[str, SiteAgreement]:
    """For each target the site whose pooled CCC is lowest; targets without any known CCC are left out."""
    found = {}
    for target in TARGETS:
        known = [(site, ccc[target]) for site, ccc in each.items() if not np.isnan(ccc[target].pooled)]
        if known:
            site, lowest = min(known, key=lambda entry: (entry[1].pooled, entry[0]))
            found[target] = SiteAgreement(
                site=site, **lowest.model_dump(include={"mean_over_recordings", "pooled"})
            )
    return found


def spread_over_sites(each: Mapping[str, Mapping[str, Agreement]]) -> dict[str, float]:
    """For each target the standard deviation (population) of the sites' pooled CCC; NaN below two known."""
    return {
        target: spread(ccc[target].pooled for ccc in each.values() if not np.isnan(ccc[target].pooled))
        for target in TARGETS
    }


def spread(values: Iterable[float]) -> float:
    """Standard deviation (population) of the sites' ``values``; NaN below two."""
    known = np.fromiter(values, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # a hostile site's 1e308 is finite, its square is not
        return float(np.std(known)) if known.size > 1 else float("nan")


def _ccc(sums: Moments) -> float:
    return ccc_from_moments(sums) if sums.target_varies else float("nan")
