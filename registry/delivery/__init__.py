"""Delivery of new events: the feed (server-sent events), webhooks, and watches (events that match a filter).

    feed.py                  listeners of this process
    webhooks.py              webhooks: webhook_store.py has their tables, webhook_delivery.py decides what is due,
                             webhook_content.py writes a message, webhook_sender.py sends it
    watches.py               watches: watch_store.py has their table, watch_mail.py writes e-mails, mail.py sends them
    confirmation.py          a receiver or an address confirms before it gets events
    public_network.py        connections to public addresses only; bounded_stream.py bounds what is read from them

Events are delivered after their commit, which waits for no receiver.
"""
