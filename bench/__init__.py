"""What the registry's figures are made with: every measure against the bare thing and the peer, as ratios within one run."""
