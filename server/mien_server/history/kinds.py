"""The kinds of events that the log of the history knows, and where each comes from.

What a line of the server's own journal (:mod:`mien_server.server_events`) says beside ``event`` and ``time``:

    invited          site
    enrolled         site, how: code, approval (of a request file) or key (given as a file)
    revoked          site, how: key (the site is refused) or invitation (an open one was withdrawn)
    key_rotated      site
    refused          how: enrolment or login (the door), count: how many since the last such line
    promoted         version, run, round
    rolled_back      version, run, round: the latest from now on
    release_key_rotated   nothing: releases are signed with a new key
    server_started   version (of Mien), how: new, or crash where the one before did not go down in order
    server_stopped   version (of Mien)
"""

from typing import Final

KINDS: Final = {
    # from presence: how the SuperLink sees a site
    "joined": "a site came online",
    "late": "a site's sign of life is overdue",
    "left": "a site went offline",
    # from the server's own journal (server_events.py)
    "invited": "an invitation was made",
    "enrolled": "a site's key was enrolled",
    "revoked": "a site was revoked",
    "key_rotated": "a site changed its key",
    "refused": "somebody was refused at the enrolment door or at the page's login",
    "promoted": "a model was made a release",
    "rolled_back": "the latest release was set to another one",
    "release_key_rotated": "the key that signs releases was changed",
    "server_started": "the server came up",
    "server_stopped": "the server went down in order",
    # from runs' journals
    "queued": "a run was put into the queue",
    "started": "a run began",
    "resumed": "a run was taken up again",
    "waiting": "a run waits for sites",
    "round": "a round is done",
    "round_failed": "a round stayed below its quorum",
    "dropped": "a site did not answer in a round, or its update was rejected",
    "finished": "a run did all its rounds",
    "stopped": "a run was stopped",
    "failed": "a run failed",
    "died": "a run's process ended without a word",
    # from either
    "unreadable": "a line of a journal is damaged, and was skipped",
}
