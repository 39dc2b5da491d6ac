"""The history: what happened, in a database, so that a restart shows all of it and questions are quick.

The files of the server's folder stay the truth: everything here is read from them, in order, exactly once.
"""
