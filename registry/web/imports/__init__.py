"""Imports of sheets through the page: upload, map the columns, look at the first rows, check, import, answer questions.

`jobs.py` keeps the files and the state of each import on disk, `upload.py` receives the files, `runner.py` reads and
records them in the background, `controller.py` has the pages.
"""
