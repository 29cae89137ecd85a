"""The rules of deals, organizations and money: pure functions of events, without any input or output."""
