"""Mappings: TOML files that say which column of a sheet has which meaning.

`spec.py` has the parts of a mapping, `blocks.py` its blocks and the events that they become, `fields.py` the fields of
these events, `parse.py` reads the file and finds its errors. `form.py` and `form_data.py` are the same mapping as a
form, and `document.py` writes the file.
"""

from registry.imports.mapping.parse import parse
from registry.imports.mapping.spec import Mapping
