"""Every error Mien raises on purpose.

    MienError                     one clear sentence for a person; the command exits with 1
    ├── InputError                a file or value somebody gave us is wrong
    │   ├── VideoError            not a video, empty, truncated, no face
    │   ├── FeatureFileError      not OpenFace's or py-feat's CSV, damaged, or too little in it
    │   ├── RatingsError          NaN, out of range, no overlap with the video
    │   ├── SessionError          a session folder that does not hold what it should
    │   │   └── NoSessionError    a site that has nothing to train on yet
    │   ├── ModelError            a model file that is damaged or of another schema
    │   └── SettingsError         a site, server or run setting that cannot be
    ├── ShapeError                arrays that do not fit together (also a ValueError)
    ├── StorageError              disk full, read-only, or not ours to write; the history's database is away
    │   └── ForeignHistoryError   that database is a newer Mien's, or another server's
    ├── SystemLibraryError        a system library is missing
    ├── ConfinementError          the face process could not be confined, or keeps dying
    │   └── FaceProcessDiedError  one face process is gone; the next takes over
    ├── TrustError                keys, certificates, host names
    │   └── EnrolmentRefusedError an invited site that cannot be let in as it is; its words may go to it
    └── FederationError           server out of reach, not enrolled, no quorum, port taken
        ├── UpdateRejectedError   an update that must not leave, or must not be averaged
        └── AgentCrashedError     an order that kills the agent each time it is tried

A message says what happened, to which file, site or round, and what to do next.
"""


class MienError(Exception):
    """Base of all errors a person can act on."""


class InputError(MienError):
    """Something given to us is wrong."""


class VideoError(InputError):
    """A video that cannot be read, or holds nothing to learn from."""


class FeatureFileError(InputError):
    """A CSV file of features that another program extracted, and that cannot be used."""


class RatingsError(InputError):
    """Ratings that cannot be used with their video."""


class SessionError(InputError):
    """A session folder that is incomplete, damaged, or of another schema."""


class NoSessionError(SessionError):
    """A site without a session to train on."""


class ModelError(InputError):
    """A model file that is damaged, or was trained on another schema."""


class SettingsError(InputError):
    """A setting that is missing, unknown or out of range."""


class ShapeError(MienError, ValueError):
    """Arrays whose shapes do not fit together."""


class StorageError(MienError):
    """A file could not be written: disk full, read-only, or not permitted. Or a database does not answer."""


class ForeignHistoryError(StorageError):
    """A database that a newer Mien wrote, or that holds another server's history; it was left as it is."""


class SystemLibraryError(MienError):
    """A system library that a package needs is not installed."""


class ConfinementError(MienError):
    """The face process could not be confined, or ended before its work was done."""


class FaceProcessDiedError(ConfinementError):
    """One face process died, hung and was ended, or gave up on a frame; another may be started."""


class TrustError(MienError):
    """A key, a certificate or a host name that does not hold."""


class EnrolmentRefusedError(TrustError):
    """A site whose code is right and that cannot be let in as it is; the sentence is meant for the site."""


class FederationError(MienError):
    """The federation cannot go on: server, enrolment, quorum, ports."""


class UpdateRejectedError(FederationError):
    """An update that must not leave the site, or must not enter the average."""


class AgentCrashedError(FederationError):
    """An order that killed the agent each time it was tried."""
