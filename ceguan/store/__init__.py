"""The only room that knows where readings lie: frame archive, ledger, sealed history."""
