"""Clients of the TCP port that mean no good: strangers.py ADDRESS PORT. The last line says, as JSON, how they fared."""

import json
import socket
import sys
import time

at = (sys.argv[1], int(sys.argv[2]))
answered = 0


def until_closed(s, limit=12):
    """Seconds until the other end closes; what it says is counted."""
    global answered
    start = time.monotonic()
    s.settimeout(limit)
    try:
        while data := s.recv(4096):
            answered += len(data)
    except OSError:
        pass
    return time.monotonic() - start


garbage = []
for text in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00", b"\x00\x05\x00\x01\x00\x00\x00", b"\xff\xff" + b"x" * 70000,
             b"\x00\x20\x80\x01" + b"y" * 30, b"\x00\x20\x83\x00" + b"z" * 30):
    with socket.create_connection(at, timeout=5) as s:
        s.sendall(text)
        garbage.append(until_closed(s))

idle = [socket.create_connection(at, timeout=5) for i in range(20)]
time.sleep(0.5)
held = []
for s in idle:
    s.setblocking(False)
    try:
        if s.recv(1) == b"":
            continue
    except BlockingIOError:
        held.append(s)
    except OSError:
        continue
for s in held:
    s.setblocking(True)
print(f"held {len(held)}", flush=True)
times = [until_closed(s) for s in held]
print("done", flush=True)
print(json.dumps({"held": len(held), "answered": answered, "garbage_s": max(garbage), "idle_s": max(times)}), flush=True)
