"""Forms for announcements, generated from the fields of the event structs.

A form field is named after its JSON pointer in the announcement, without the first slash (`event/pledge`), so that a
field error of the strict decoder leads to it.
"""
