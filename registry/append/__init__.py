"""The write path. A request passes these modules, in this order:

    requests.py          what a client asks to append, and what it gets back
    submission_queue.py  the queue: bounded, requests before imports
    recorder.py          takes batches from the queue, has them committed, and replies
    log_writer.py        the commit to the log: validated before its lock is taken, or under it
    batch.py             the validation of each request against the streams, and the rows that the commit writes;
                         other_streams.py compares a request with other deals, idempotency.py with earlier requests
    seal.py              the bytes of an event, their digest and leaf hash

`proposals.py` keeps what waits for a second principal; the other modules record particular events through the recorder.
"""
