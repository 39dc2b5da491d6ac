"""All that happens between a frame and its numbers, most of it in a process without a network or a disk.

Two sides. The agent's: :mod:`process` starts, feeds and replaces the face process, :mod:`seat` keeps one
between recordings, :mod:`confinement_record` remembers how it was confined. The confined one:
:mod:`worker` locks itself in (:mod:`confinement`, :mod:`landlock`), :mod:`finder` follows a face
(:mod:`landmarks`, :mod:`search`, :mod:`detector`), :mod:`action_units` measures it, :mod:`validity` and
:mod:`coverage` say what cannot be measured.
"""
