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


def still_open(s):
    s.setblocking(False)
    try:
        return s.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        s.setblocking(True)


since = time.monotonic()
held = [socket.create_connection(at, timeout=5) for i in range(20)]
while time.monotonic() - since < 3 and len(held) > 4:  # before the silent ones end, too
    time.sleep(0.05)
    held = [s for s in held if still_open(s)]
print(f"held {len(held)}", flush=True)
for s in held:
    until_closed(s)
idle = time.monotonic() - since
print(json.dumps({"held": len(held), "answered": answered, "garbage_s": max(garbage), "idle_s": idle}), flush=True)
