"""The clockwork: runs quality and science on what arrived, computes status, records changes and findings."""
