"""What the tests of the common room share."""

from hypothesis import settings

# The same examples in every run, and no deadline on a machine that does other things too.
settings.register_profile("mien", derandomize=True, deadline=None, database=None)
settings.load_profile("mien")
