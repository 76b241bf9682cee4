"""HJ 212 devices as a product: for trying a platform out, loading it, and proving what it does with what goes wrong.

values  what a device measures                  Model(seed, kind, edition).area(kind, moment)
logger  one device as the standard says         Logger(...): tick(now), heard(frame, now), next(now)
faults  what the line and a bad device do       parse(text) → Faults; Line: bytes as they leave
fleet   many devices on real TCP connections    run(Options)
"""
