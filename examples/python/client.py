# A client in Python, of its standard library alone: python3 examples/python/client.py http://localhost:3000/ [cursor]
import http.client, json, random, sys, time, urllib.error, urllib.parse, urllib.request

def frames(response):
    event, data, place = "message", [], None
    for raw in response:
        if not raw.endswith(b"\n"): return  # cut within a line: a frame without its end counts for nothing
        name, _, value = raw.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "event": event = value
        elif name == "data": data.append(value)
        elif name == "id": place = value
        elif name == "retry" and value.isdigit(): yield "stream:retry", value, None
        elif raw.strip() == b"":
            if data or place: yield event, "\n".join(data), place
            event, data, place = "message", [], None

def follow(url, cursor=None, silence=45):
    """Yields (event, data, cursor) for ever, and "stream:gap" before what follows a loss. Save the cursor with the effect."""
    failures, retry, known = 0, 1, False
    while True:
        asked, opened, least, established = cursor, None, 0, False
        query = ("&" if "?" in url else "?") + "lastEventId=" + urllib.parse.quote(cursor) if cursor else ""
        try:
            with urllib.request.urlopen(url + query, timeout=silence) as response:
                opened = time.monotonic()
                if response.status == 204: return  # complete, and read to its end
                if response.headers.get_content_type() != "text/event-stream":
                    raise (OSError if known else ValueError)("not an event stream")
                for event, data, place in frames(response):
                    cursor = place or cursor
                    if event == "stream:retry": retry = min(max(int(data) / 1000, 0.1), 60)
                    if event == "stream:end" and json.loads(data)["reason"] == "sealed": return
                    if event == "stream:ready":
                        known, silence = True, 3 * json.loads(data)["heartbeatMs"] / 1000
                        if asked and json.loads(data).get("resumed") == "new":  # the cursor was lost on the way
                            event, data = "stream:gap", '{"reason":"invalid","missed":null}'
                    if event == "stream:gap" or not event.startswith("stream:"):
                        established = True
                        yield event, data, cursor
        except urllib.error.HTTPError as refusal:
            if not known and refusal.code < 500 and refusal.code not in (408, 425, 429): raise
            after = refusal.headers.get("Retry-After", "")
            least = min(int(after), 3600) if after.isdigit() else 0
        except (OSError, http.client.HTTPException): pass  # the network, or silence: come back
        established = established or (opened is not None and time.monotonic() - opened > 5)
        failures = 0 if established else failures + 1
        wait = retry * random.uniform(1, 1.1) if established else retry + random.uniform(0, min(30, 2**failures))
        time.sleep(max(least, wait))

if __name__ == "__main__":
    for item in follow(*sys.argv[1:3]): print(json.dumps(item), flush=True)
