"""What the registry's figures are made with: each measure against the bare thing and the peer, as ratios of one run."""
