"""Record an article by one form: its source once, then any number of announcements about any number of deals.

The names of the form's fields (`form.py`) are the pointers of an announcement under the place of its deal:
`deals/0/announcements/1/event/amount`. Without scripts each button posts the whole form and gets it back, so nothing
that was typed is lost. `lookup.py` takes deals and organizations by name; `outcome.py` previews, records or proposes.
"""
