"""Evidence: the Merkle tree over the log, signed checkpoints, proofs, certificates and their verification."""
