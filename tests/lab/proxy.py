"""A tiny HTTP CONNECT proxy: proxy.py ADDRESS PORT [STATUS to refuse with]. Prints each request's first line."""

import socket
import sys
import threading


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(4096)
        if not more:
            return
        head += more
    line = head.split(b"\r\n")[0].decode()
    print(line, flush=True)
    if len(sys.argv) > 3:
        client.sendall(f"HTTP/1.1 {sys.argv[3]} No\r\nContent-Length: 0\r\n\r\n".encode())
        client.close()
        return
    host, port = line.split()[1].rsplit(":", 1)
    try:
        far = socket.create_connection((host.strip("[]"), int(port)), timeout=5)
    except OSError:
        client.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        client.close()
        return
    far.settimeout(None)
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=pump, args=(client, far), daemon=True).start()
    pump(far, client)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
