"""Sends bounded garbage to one UDP port: flood.py HOST PORT PER_SECOND SECONDS [RECORDED_HEX_FILE].

Random bytes, truncated and bit-flipped packets of every type, and, when a file with one packet in hex
per line is given, those packets again (whole, cut, flipped). Prints how many it sent.
"""

import random
import socket
import sys
import time


def packets(recorded, rng):
    types = [0x00, 0x01, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0xFF]
    made = []
    for i in range(4096):
        size = rng.choice([0, 1, 4, 15, 16, 17, 31, 32, 33, 60, 148, 200, 600, 1200, 1400])
        p = bytearray(rng.randbytes(size))
        if size > 0:
            p[0] = rng.choice(types)
        if size > 4 and p[0] in (0x82, 0x83):
            p[1:4] = b"\x01\x00\x00"
        made.append(bytes(p))
    for p in recorded:
        made.append(p)
        made.append(p[: rng.randrange(len(p))])
        flipped = bytearray(p)
        flipped[rng.randrange(len(p))] ^= 1 << rng.randrange(8)
        made.append(bytes(flipped))
    rng.shuffle(made)
    return made


def main():
    host, port, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    recorded = [bytes.fromhex(line) for line in open(sys.argv[5])] if len(sys.argv) > 5 else []
    made = packets(recorded, random.Random(1))
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((host, port))
    s.setblocking(False)
    start, sent, answered = time.monotonic(), 0, 0
    least = 0.45 * rate * seconds  # where other programs leave too little of the machine, it takes longer
    while (now := time.monotonic() - start) < seconds or (sent < least and now < 4 * seconds):
        due = int(now * rate)
        while sent < due:
            try:
                s.send(made[sent % len(made)])
            except (BlockingIOError, ConnectionRefusedError):
                pass
            sent += 1
        try:
            while True:
                s.recv(2048)
                answered += 1
        except (BlockingIOError, ConnectionRefusedError):
            pass
        time.sleep(0.0005)
    print(sent, answered)


main()
