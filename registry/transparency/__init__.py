"""Evidence: the Merkle tree over the log, signed checkpoints, proofs, certificates and their verification.

    merkle.py, tiles.py, tree.py    the tree: its arithmetic, its tiles, and its tables
    heads.py                        the heads of all streams under one hash
    checkpoint.py, signer.py        signed checkpoints; signing_keys.py, checkpoint_store.py
    cosigning.py, cosignatures.py   cosignatures of witnesses; witness.py and witness_request.py are a witness
    proofs.py, bundles.py           proofs of an event or a deal's state, and their verification offline
    certificates.py                 proofs of answers; deal_state.py, portfolio_state.py, total_state.py compute answers
                                    again, portfolio_bundles.py verifies those about all deals
    evidence.py                     what the service provides of all this
    verify.py, findings.py          the verification of a whole log, and what it finds

The formats are those of RFC 6962 and C2SP, so that other tools can verify the log (docs/auditors.md).
"""
