"""The fold: from the events of a stream to its states, fact by fact."""
