"""The only code that opens or writes an artifact: one file each, written atomically, with its provenance inside."""
