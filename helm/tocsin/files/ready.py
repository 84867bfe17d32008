"""Ask every address behind HOST:PORT arguments for /readyz until all are ready or the seconds of the first are over."""

import json
import socket
import sys
import time
import urllib.error
import urllib.request

TIMEOUT_S, *SERVICES = sys.argv[1:]


def reasons(service: str) -> list[str]:
    """Return why a service is not ready, a sentence each."""
    host, port = service.rsplit(":", 1)
    try:
        addresses = {found[4][0] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        return [f"{service}: {error}"]
    told = []
    for address in sorted(addresses):
        url = f"http://[{address}]:{port}/readyz" if ":" in address else f"http://{address}:{port}/readyz"
        try:
            urllib.request.urlopen(url, timeout=3).close()
        except urllib.error.HTTPError as error:
            told += [f"{service} {address}: {reason}" for reason in json.load(error)["reasons"]]
        except OSError as error:
            told.append(f"{service} {address}: {error}")
    return told


deadline_s = time.monotonic() + float(TIMEOUT_S)
while told := [reason for service in SERVICES for reason in reasons(service)]:
    if time.monotonic() > deadline_s:
        sys.exit("not ready: " + "; ".join(told))
    time.sleep(2)
print("ready:", *SERVICES)
