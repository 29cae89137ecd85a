"""Pages for readers and editors, rendered on the server in each interface language. They work without scripts.

`router.py` has all pages. The modules that write values and figures as text (`format.py`, `numbers.py`, `i18n.py`) need
none of them: the command uses them too.
"""
