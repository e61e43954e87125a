"""A router that speaks NAT-PMP only (RFC 6886): natpmp.py EXTERNAL_ADDRESS. Prints what it is asked.

Says its address twice, as one does that was slow to answer and was asked again meanwhile.
"""

import socket
import struct
import sys

external = socket.inet_aton(sys.argv[1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 5351))
print("ready", flush=True)
while True:
    ask, who = s.recvfrom(1100)
    version, op = ask[0], ask[1]
    if version != 0:
        s.sendto(struct.pack("!BBHI", 0, 0x80 | op, 1, 1), who)  # unsupported version
    elif op == 0:
        for _ in range(2):
            s.sendto(struct.pack("!BBHI", 0, 128, 0, 1) + external, who)
    elif op in (1, 2):
        _, inside, outside, life = struct.unpack("!HHHI", ask[2:12])
        name, other = (("map", 1), ("tcp", outside < 1024))[op - 1]  # TCP elsewhere than asked for only below 1024
        print(f"{name} {inside} {outside} {life}", flush=True)
        s.sendto(struct.pack("!BBHIHHI", 0, 128 + op, 0, 1, inside, outside and outside + other, life), who)
