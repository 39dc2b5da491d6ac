"""How well a global model does, from the sites' sufficient statistics.

Enters: one set of sums per held-out recording. Leaves: CCC by both rules; no trace was ever sent.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from mien_common.ccc import Moments, ccc_from_moments
from mien_common.messages import EvaluateReport
from mien_common.published import Agreement, SiteAgreement
from mien_common.schema import TARGETS


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


def worst_site(reports: Sequence[EvaluateReport]) -> dict[str, SiteAgreement]:
    """For each target the site whose pooled CCC is lowest; targets without any known CCC are left out."""
    each = [(report.site, agreement([report])) for report in reports]
    found = {}
    for target in TARGETS:
        known = [(site, ccc[target]) for site, ccc in each if not np.isnan(ccc[target].pooled)]
        if known:
            site, lowest = min(known, key=lambda entry: (entry[1].pooled, entry[0]))
            found[target] = SiteAgreement(
                site=site, **lowest.model_dump(include={"mean_over_recordings", "pooled"})
            )
    return found


def _ccc(sums: Moments) -> float:
    return ccc_from_moments(sums) if sums.target_varies else float("nan")
