"""A conversation made by psrpcore (PyPI): its fragments, and what was said. Usage: peer.py SEED

Every message of MS-PSRP 2.2.2 is sent at least once, but for those that psrpcore cannot send.
"""

import base64
import datetime
import json
import random
import sys

import psrpcore as core
from psrpcore import types

rng = random.Random(int(sys.argv[1]))
# PowerShell 2, 3 and 5 and later: what the two ends say of themselves, and what they may send.
version = ["2.1", "2.2", "2.3"][int(sys.argv[1]) % 3]
private = {types.PSString("PSVersionTable"): types.PSDict({types.PSString("PSVersion"): types.PSVersion("5.1")})}
client = core.ClientRunspacePool(
    application_arguments={"k\u00e9": types.PSInt(7)}, min_runspaces=1, max_runspaces=2
)
server = core.ServerRunspacePool(application_private_data=private)
for pool in (client, server):
    pool.our_capability.protocolversion = types.PSVersion(version)
rows = []
kinds = set()


def pump():
    """Hands over what both ends have to send, in fragments of any size; gives the server's events."""
    moved, events = True, []
    while moved:
        moved = False
        for source, target in ((client, server), (server, client)):
            while payload := source.data_to_send(rng.choice([60, 200, 1000, 32768])):
                moved = True
                rows.append({"to_server": source is client, "bytes": bytes(payload.data).hex()})
                target.receive_data(payload)
                while (event := target.next_event()) is not None:
                    kinds.add(type(event).__name__)
                    events += [event] if target is server else []
    return events


def text(longest):
    return "".join(rng.choices('abc _x0041_X\n\r\t<>&"\'{}=;\u00e9\u4e2d\U0001f600', k=rng.randrange(longest)))


def value(depth=0):
    """A value, and how it reads on one line."""
    kind = rng.randrange(26 if depth < 4 else 20)
    number = rng.randrange(-(2**31), 2**31)
    plain = [
        lambda: types.PSInt(number),
        lambda: types.PSInt64(number * 2**31),
        lambda: types.PSGuid(int=rng.getrandbits(128)),
        lambda: types.PSVersion(f"1.2.{abs(number)}"),
        lambda: types.PSDouble(number / 4),
        lambda: types.PSUri("http://x/?a=1&b=2"),
        lambda: types.PSScriptBlock(text(60)),
        lambda: types.PSString(text(400) + "\x01"),
        lambda: types.PSXml(f"<a b='1'>{number} _x0041_ \u00e9</a>"),
        lambda: types.PSUInt64(2**64 - 1 - abs(number)),
        lambda: types.PSByte(abs(number) % 256),
        lambda: types.PSSByte(number % 128 - 128),
        lambda: types.PSUInt16(abs(number) % 65536),
        lambda: types.PSDecimal(f"{number}.125"),
    ]
    if kind < len(plain):
        made = plain[kind]()
        return made, str(made)
    if kind == 14:
        return None, ""
    if kind == 15:
        return number > 0, str(number > 0)
    if kind == 16:
        return types.PSChar("\u00e9"), "\u00e9"
    if kind == 17:
        raw = number.to_bytes(8, "big", signed=True)
        return types.PSByteArray(raw), base64.b64encode(raw).decode()
    if kind == 18:
        return types.ConsoleColor.Blue, "Blue"
    if kind == 19:
        return types.PSDuration(datetime.timedelta(days=1, hours=2, seconds=3)), "P1DT2H3S"
    inner = [value(depth + 1) for _ in range(rng.randrange(4))]
    listed = "{" + ", ".join(line for _, line in inner) + "}"
    if kind == 20:
        return types.PSList([one for one, _ in inner]), listed
    if kind == 21:
        return types.PSStack([one for one, _ in inner]), listed
    if kind == 22:
        queue = types.PSQueue()
        for one, _ in inner:
            queue.put(one)
        return queue, listed
    if kind == 23:
        # The same object twice: the second time by its number.
        shared = types.PSList([types.PSInt(1), types.PSString("x")])
        return types.PSList([shared, shared]), "{{1, x}, {1, x}}"
    named = "@{" + "; ".join(f"k{at}={line}" for at, (_, line) in enumerate(inner)) + "}"
    if kind == 24:
        return types.PSDict({types.PSString(f"k{at}"): one for at, (one, _) in enumerate(inner)}), named
    return types.PSCustomObject(**{f"k{at}": one for at, (one, _) in enumerate(inner)}), named


def failure(message):
    made = types.NETException(Message=message)
    return made, types.ErrorCategoryInfo(
        Category=types.ErrorCategory.ObjectNotFound, Activity="Get-Item", Reason="R", TargetName="n"
    )


client.open()
pump()
client.exchange_key()
pump()
client.get_available_runspaces()
for event in pump():
    if isinstance(event, core.GetAvailableRunspacesEvent):
        server.runspace_availability_response(event.ci, 2)
client.set_max_runspaces(5)
client.set_min_runspaces(2)
for event in pump():
    if hasattr(event, "ci"):
        server.runspace_availability_response(event.ci, True)
pump()
if version == "2.3":
    client.reset_runspace_state()
    for event in pump():
        server.runspace_availability_response(event.ci, True)
server.send_event(1, "My.Event", sender=None, source_args=[types.PSInt(1)], message_data="m")
server.host_call(types.HostMethodIdentifier.SetWindowTitle, ["a title"])
asked = server.host_call(types.HostMethodIdentifier.GetName)
pump()
client.host_response(asked, "a host")
pump()

told = []
secrets = []
for turn in range(4):
    shell = core.ClientPowerShell(client, no_input=False)
    script, argument = text(3000), value()
    secret = text(20)
    secrets.append(secret)
    shell.add_script(script)
    shell.add_parameter("Name", argument[0])
    shell.add_parameter("Secret", types.PSSecureString(secret))
    shell.add_statement()
    shell.add_command("Get-Item")
    # Two at a time: their messages take turns.
    other = core.ClientPowerShell(client)
    other.add_command("Get-Other")
    other.add_argument(types.PSInt(turn))
    shell.start()
    other.start()
    served, other_served = (core.ServerPipeline(server, one.pipeline_id) for one in (shell, other))
    pump()
    served.start()
    other_served.start()
    # psrpcore sends null as an empty output, not as input.
    given = [one for one in (value() for _ in range(3)) if one[0] is not None]
    for one, _ in given:
        shell.send(one)
        pump()
    shell.send_eof()
    pump()
    output = [value() for _ in range(20)]
    for at, (one, _) in enumerate(output):
        served.write_output(one)
        other_served.write_output(f"other {at}")
        if rng.random() < 0.3:
            pump()
    streams = {}
    for name, write in (
        ("warning", served.write_warning),
        ("verbose", served.write_verbose),
        ("debug", served.write_debug),
    ):
        streams[name] = text(100)
        write(streams[name])
    # One that is over several fragments at any size.
    error, category = failure(text(40000))
    served.write_error(error, category, fully_qualified_error_id="Id,1", error_details=None)
    served.write_progress("copying", 1, "half", percent_complete=50)
    served.write_progress(
        "copying", 1, "all", percent_complete=100, record_type=types.ProgressRecordType.Completed
    )
    if version == "2.3":
        served.write_information("told", "a source", tags=["PSHOST"], user="u", computer="c")
    line = text(30)
    served.host_call(types.HostMethodIdentifier.WriteLine2, [line])
    ask = served.host_call(types.HostMethodIdentifier.ReadLine)
    choice = served.host_call(
        types.HostMethodIdentifier.PromptForChoice,
        ["caption", "message", [types.ChoiceDescription(Label="&Yes")], types.PSInt(0)],
    )
    credential = served.host_call(
        types.HostMethodIdentifier.PromptForCredential1, ["caption", "message", "user", "target"]
    )
    pump()
    answer = text(30)
    client.host_response(ask, answer)
    client.host_response(choice, types.PSInt(1))
    given_credential = types.PSCredential(UserName="user", Password=types.PSSecureString(secret))
    client.host_response(credential, given_credential)
    pump()
    # One ends well, the other is stopped.
    served.complete()
    other_served.stop()
    pump()
    told.append(
        {
            "id": str(shell.pipeline_id),
            "script": script,
            "argument": argument[1],
            "secret": secret,
            "input": [one for _, one in given],
            "output": [one for _, one in output],
            "error": error.Message,
            "progress": ["copying: all 100 %"],
            "information": ["told"] if version == "2.3" else [],
            "written": line,
            "answer": answer,
            "other": str(other.pipeline_id),
            **streams,
        }
    )
# Asking what commands there are is a pipeline of its own kind.
metadata = core.ClientGetCommandMetadata(client, ["Get-Item", "Get-It*"])
metadata.start()
core.ServerPipeline(server, metadata.pipeline_id)
pump()
server.set_broken(types.ErrorRecord(Exception=failure("gone")[0], CategoryInfo=failure("gone")[1]))
pump()
json.dump(
    {
        "rows": rows,
        "pipelines": told,
        "pool": str(client.runspace_pool_id),
        "metadata": str(metadata.pipeline_id),
        "version": version,
        "kinds": sorted(kinds),
        "session_key": server._session_key.hex(),
    },
    sys.stdout,
)
