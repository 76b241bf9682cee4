"""HJ 212: frames of the field's mother tongue – cut (`splitter`), checked (`crc`), read and written (`frame`)."""
