"""HJ 212, the field's mother tongue.

splitter  bytes → chunks            Splitter(max_frame).feed(data) / settle() / close() → [Chunk]
scan      many reads → the usual frames scan(buffer, ends) → Scanned; Scanner().feed(data) → [Run]; answers(…)
batch     bytes → columns               Stream().feed(data) / take() / close() → RecordBatch; table(data)
crc       the checksum and its two stand-ins
sm4       the enciphered data area of edition 2025
frame     chunk → fields and back   of_chunk, decode, quick_head, encode; with the device's key where it is needed
answers   what the device waits for answer_to(frame or head) → bytes or None
commands  what the host may ask    tables; find, check, area
exchange  request … result          Exchange: events → actions
merge     parts → one message       Merger().feed(frame) / close()
readings  frame → rows              rows(frame) → Upload
check     a device that checks a server   play(Server(...)) → [Result]
replay    recorded frames → a server
cli       `ceguan hj212 …`
"""
