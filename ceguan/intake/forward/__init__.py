"""Forwarding upward: what adopted devices sent, on to other platforms, each in the edition and words it expects.

translate  a message of one edition → frames of another            fields(frame, wish, …), framed_parts(fields, wish, …)
spool      archive → what one target should get, in receive order   Feed(...).next(now); Book: how far it has come
link       one target's connection: send, await answers, re-send    Link(...).run()
targets    the register of targets, changes with reason and audit
process    `ceguan forward`: one link per target, a heartbeat for the pages

The archive is the spool. A target's position moves only over what it has acknowledged, so nothing is lost while it is
down or we are killed; what it may get twice is the window that was on its way, each frame with the same QN as before.
"""
