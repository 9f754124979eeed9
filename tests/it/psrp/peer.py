"""A conversation made by psrpcore (PyPI): its fragments, and what was said. Usage: peer.py SEED"""

import base64
import json
import random
import sys

import psrpcore as core
from psrpcore import types

rng = random.Random(int(sys.argv[1]))
client, server = core.ClientRunspacePool(), core.ServerRunspacePool()
rows = []


def pump():
    """Hands over what both ends have to send, in fragments of any size."""
    moved = True
    while moved:
        moved = False
        for source, target in ((client, server), (server, client)):
            while payload := source.data_to_send(rng.choice([60, 200, 1000, 32768])):
                moved = True
                rows.append({"to_server": source is client, "bytes": bytes(payload.data).hex()})
                target.receive_data(payload)
                while target.next_event() is not None:
                    pass


def text(longest):
    return "".join(rng.choices('abc _x0041_X\n\r\t<>&"\'{}=;\u00e9\u4e2d\U0001f600', k=rng.randrange(longest)))


def value(depth=0):
    """A value, and how it reads on one line."""
    kind = rng.randrange(17 if depth < 4 else 12)
    number = rng.randrange(-(2**31), 2**31)
    plain = [
        lambda: types.PSInt(number),
        lambda: types.PSInt64(number * 2**31),
        lambda: types.PSGuid(int=rng.getrandbits(128)),
        lambda: types.PSVersion(f"1.2.{abs(number)}"),
        lambda: types.PSDouble(number / 4),
        lambda: types.PSUri("http://x/?a=1&b=2"),
        lambda: types.PSScriptBlock(text(60)),
        lambda: types.PSString(text(400)),
    ]
    if kind < len(plain):
        made = plain[kind]()
        return made, str(made)
    if kind == 8:
        return None, ""
    if kind == 9:
        return number > 0, str(number > 0)
    if kind == 10:
        return types.PSChar("\u00e9"), "\u00e9"
    if kind == 11:
        raw = number.to_bytes(8, "big", signed=True)
        return types.PSByteArray(raw), base64.b64encode(raw).decode()
    inner = [value(depth + 1) for _ in range(rng.randrange(4))]
    listed = "{" + ", ".join(line for _, line in inner) + "}"
    if kind == 12:
        return types.PSList([one for one, _ in inner]), listed
    if kind == 13:
        return types.PSStack([one for one, _ in inner]), listed
    if kind == 14:
        queue = types.PSQueue()
        for one, _ in inner:
            queue.put(one)
        return queue, listed
    named = "@{" + "; ".join(f"k{at}={line}" for at, (_, line) in enumerate(inner)) + "}"
    if kind == 15:
        return types.PSDict({types.PSString(f"k{at}"): one for at, (one, _) in enumerate(inner)}), named
    return types.PSCustomObject(**{f"k{at}": one for at, (one, _) in enumerate(inner)}), named


client.open()
pump()
told = []
for _ in range(4):
    shell = core.ClientPowerShell(client)
    script, argument = text(3000), value()
    shell.add_script(script)
    shell.add_parameter("Name", argument[0])
    shell.add_statement()
    shell.add_command("Get-Item")
    shell.start()
    served = core.ServerPipeline(server, shell.pipeline_id)
    pump()
    served.start()
    output = [value() for _ in range(20)]
    for one, _ in output:
        served.write_output(one)
    warning = text(100)
    served.write_warning(warning)
    served.complete()
    pump()
    told.append(
        {
            "pool": str(client.runspace_pool_id),
            "id": str(shell.pipeline_id),
            "script": script,
            "argument": argument[1],
            "output": [line for _, line in output],
            "warning": warning,
        }
    )
json.dump({"rows": rows, "pipelines": told}, sys.stdout)
