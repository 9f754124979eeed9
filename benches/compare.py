#!/usr/bin/env python3
"""Measure the whole program beside evtx_dump and rsigma, on one log.

    python3 benches/compare.py --log FILE.evtx
    python3 benches/compare.py --corpus make_corpus.py --logs FOLDER
    python3 benches/compare.py --log FILE.evtx --rules sigma/rules/windows --growth BIG.evtx

The log is FILE, or it is made in a temporary folder: make_corpus.py is called with the new
log's path, its size in MiB and FOLDER. The commands, each with 1 and 2 threads:

    psr-forensics                with its default pack: six files of results
    psr-forensics --pack RULES   with the rules of --rules in addition
    evtx_dump                    the whole log as JSON lines, to nowhere
    rsigma                       the rules of --rules on the log's records, to nowhere

They run in turn, A B C A B C, so that what else the machine does falls on all alike. A ratio is
the median of the ratios to evtx_dump in the same turn. Wall time, processor time (user and
system) and peak memory are what the system says of the finished process; a peak below that of
this script cannot be seen and is shown as "<". A command that ends with another exit code than it
should stops the comparison; 4 is right for psr-forensics, as a rule that is not for it makes a
run partial.

"Out" is the records that psr-forensics says it read, the lines that evtx_dump writes, and the
detections that rsigma writes; the last is no number of records.

rsigma does the part of the work that is rules: it reads EVTX when built with that feature, one
record after another on one thread, and rebuilds nothing. By itself it knows no field by the name
that rules give it and tries every rule on every record. So it is given a jq filter that lays a
record's fields side by side, and a pipeline, made here, that ties each logsource to its channel
and event ids, as far as TAXONOMY goes; the rules of other logsources it tries on every record.
It does not read 4688 as process_creation, which psr-forensics does.

A program that is missing is left out, with a word on how to install it.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, NamedTuple

INSTALL = {
    "evtx_dump": "cargo install evtx --locked --version 0.15.1",
    "rsigma": "cargo install rsigma --locked --version 0.23.0 --no-default-features --features evtx",
    "psr-forensics": "cargo build --release --locked",
}

SYSMON = "Microsoft-Windows-Sysmon/Operational"
POWERSHELL = ["Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"]
CLASSIC = "Windows PowerShell"

# Sigma's taxonomy: what a logsource selects, as channel and event ids; no ids means all.
CATEGORIES = {
    "process_creation": (SYSMON, [1]),
    "file_change": (SYSMON, [2]),
    "network_connection": (SYSMON, [3]),
    "sysmon_status": (SYSMON, [4, 16]),
    "process_termination": (SYSMON, [5]),
    "driver_load": (SYSMON, [6]),
    "image_load": (SYSMON, [7]),
    "create_remote_thread": (SYSMON, [8]),
    "raw_access_thread": (SYSMON, [9]),
    "process_access": (SYSMON, [10]),
    "file_event": (SYSMON, [11]),
    "registry_add": (SYSMON, [12]),
    "registry_delete": (SYSMON, [12]),
    "registry_set": (SYSMON, [13]),
    "registry_rename": (SYSMON, [14]),
    "registry_event": (SYSMON, [12, 13, 14]),
    "create_stream_hash": (SYSMON, [15]),
    "pipe_created": (SYSMON, [17, 18]),
    "wmi_event": (SYSMON, [19, 20, 21]),
    "dns_query": (SYSMON, [22]),
    "file_delete": (SYSMON, [23, 26]),
    "process_tampering": (SYSMON, [25]),
    "file_executable_detected": (SYSMON, [29]),
    "sysmon_error": (SYSMON, [255]),
    "ps_module": (POWERSHELL, [4103]),
    "ps_script": (POWERSHELL, [4104]),
    "ps_classic_start": (CLASSIC, [400]),
    "ps_classic_provider_start": (CLASSIC, [600]),
    "ps_classic_script": (CLASSIC, [800]),
}
SERVICES = {
    "security": "Security",
    "system": "System",
    "application": "Application",
    "sysmon": SYSMON,
    "winrm": ["Microsoft-Windows-WinRM/Operational", "Microsoft-Windows-WinRM/Analytic"],
    "powershell": POWERSHELL,
    "powershell-classic": CLASSIC,
    "wmi": "Microsoft-Windows-WMI-Activity/Operational",
    "taskscheduler": "Microsoft-Windows-TaskScheduler/Operational",
    "windefend": "Microsoft-Windows-Windows Defender/Operational",
    "openssh": "OpenSSH/Operational",
    "applocker": [
        "Microsoft-Windows-AppLocker/MSI and Script",
        "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment",
        "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ],
    "ntlm": "Microsoft-Windows-NTLM/Operational",
    "dns-client": "Microsoft-Windows-DNS Client Events/Operational",
    "dns-server": "DNS Server",
    "dns-server-analytic": "Microsoft-Windows-DNS-Server/Analytical",
    "driver-framework": "Microsoft-Windows-DriverFrameworks-UserMode/Operational",
    "msexchange-management": "MSExchange Management",
    "printservice-admin": "Microsoft-Windows-PrintService/Admin",
    "printservice-operational": "Microsoft-Windows-PrintService/Operational",
    "terminalservices-localsessionmanager": (
        "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational"
    ),
    "smbclient-security": "Microsoft-Windows-SmbClient/Security",
    "smbclient-connectivity": "Microsoft-Windows-SmbClient/Connectivity",
    "smbserver-connectivity": "Microsoft-Windows-SMBServer/Connectivity",
    "codeintegrity-operational": "Microsoft-Windows-CodeIntegrity/Operational",
    "firewall-as": "Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",
    "bits-client": "Microsoft-Windows-Bits-Client/Operational",
    "security-mitigations": [
        "Microsoft-Windows-Security-Mitigations/Kernel Mode",
        "Microsoft-Windows-Security-Mitigations/User Mode",
    ],
    "diagnosis-scripted": "Microsoft-Windows-Diagnosis-Scripted/Operational",
    "shell-core": "Microsoft-Windows-Shell-Core/Operational",
    "ldap": "Microsoft-Windows-LDAP-Client/Debug",
    "vhdmp": "Microsoft-Windows-VHDMP/Operational",
    "appxdeployment-server": "Microsoft-Windows-AppXDeploymentServer/Operational",
    "appxpackaging-om": "Microsoft-Windows-AppxPackaging/Operational",
    "appmodel-runtime": "Microsoft-Windows-AppModel-Runtime/Admin",
    "lsa-server": "Microsoft-Windows-LSA/Operational",
    "certificateservicesclient-lifecycle-system": (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational"
    ),
    "capi2": "Microsoft-Windows-CAPI2/Operational",
    "iis-configuration": "Microsoft-IIS-Configuration/Operational",
    "microsoft-servicebus-client": "Microsoft-ServiceBus-Client",
    "sense": "Microsoft-Windows-SENSE/Operational",
}
TAXONOMY = [("category", name, *what) for name, what in CATEGORIES.items()] + [
    ("service", name, channel, []) for name, channel in SERVICES.items()
]

# A record with its fields side by side under Sigma's names. An EventID that has attributes and the
# unnamed strings of classic logs lie one step further down.
FLAT = """
def text: if type == "object" then .["#text"] else . end;
.Event | .System as $system
| (.EventData // first(.UserData[]?) // {})
| if has("Data") then .Data |= text else . end
| . + {
    EventID: ($system.EventID | text),
    Channel: $system.Channel,
    Computer: $system.Computer,
    Level: $system.Level,
    Provider_Name: $system.Provider["#attributes"].Name
}
"""


class Command(NamedTuple):
    """A command to measure."""

    name: str
    threads: int
    arguments: list[str]
    right_codes: tuple[int, ...]
    # What it gave, counted after it ran.
    count: Callable[[], int]


class Run(NamedTuple):
    """What one run of a command took, in seconds and MiB."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory(dir=args.temp, prefix="compare-") as folder:
        scratch = Path(folder)
        log = args.log or make_log(args, scratch)
        commands = prepare(args, log, scratch)
        if not commands:
            sys.exit("nothing to measure")
        print(f"{log.name}, {mib(log):.0f} MiB, {args.repeat} runs of each command\n")
        runs = measure(commands, args.repeat, scratch)
        if args.growth:
            print_growth(args, log, commands, runs, scratch)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, help="the log to read")
    parser.add_argument("--corpus", type=Path, metavar="MAKE_CORPUS.PY", help="makes the log")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="the logs it is made of")
    parser.add_argument("--size", type=int, default=256, help="its size in MiB (256)")
    parser.add_argument("--rules", type=Path, metavar="DIR", help="Sigma rules to run, too")
    parser.add_argument("--growth", type=Path, metavar="BIG.evtx", help="a larger log, run once")
    parser.add_argument("--repeat", type=int, default=7, help="runs of each command (7)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads (1 2)")
    parser.add_argument("--temp", type=Path, metavar="DIR", help="where temporary files go")
    for name in INSTALL:
        parser.add_argument(f"--{name.replace('_', '-')}", default=name, metavar="PROGRAM")
    args = parser.parse_args()
    if not args.log and not (args.corpus and args.logs):
        parser.error("name a log with --log, or --corpus and --logs to make one")
    args.psr_forensics = find(args.psr_forensics, "psr-forensics")
    args.evtx_dump = find(args.evtx_dump, "evtx_dump")
    args.rsigma = find(args.rsigma, "rsigma") if args.rules else None
    return args


def make_log(args: argparse.Namespace, scratch: Path) -> Path:
    log = scratch / "corpus.evtx"
    make = [sys.executable, args.corpus, log, str(args.size), args.logs]
    subprocess.run(make, check=True, stdout=sys.stderr)
    return log


def find(program: str, name: str) -> str | None:
    """The program's path; where there is none, says how to get it."""
    path = shutil.which(program)
    if not path:
        print(f"{name} is missing and left out; to have it: {INSTALL[name]}", file=sys.stderr)
    return path


def prepare(args: argparse.Namespace, log: Path, scratch: Path) -> list[Command]:
    """The commands to measure."""
    commands = []
    for threads in args.threads:
        commands += ours(args, log, threads, scratch)
        if args.evtx_dump:
            command = [args.evtx_dump, "-t", str(threads), "-o", "jsonl", str(log)]
            commands.append(
                Command("evtx_dump", threads, command, (0,), lambda c=command: lines(c))
            )
    if args.rsigma:
        pipeline = scratch / "pipeline.yml"
        write_pipeline(pipeline)
        # What does not end in .evtx it would read as text.
        link = scratch / "rsigma.evtx"
        link.symlink_to(log.absolute())
        command = [args.rsigma, "engine", "eval", "--rules", str(args.rules), "--event", f"@{link}"]
        command += ["--pipeline", str(pipeline), "--jq", FLAT, "--output-format", "ndjson"]
        commands.append(Command("rsigma", 1, command, (0,), lambda: lines(command)))
    return commands


def ours(args: argparse.Namespace, log: Path, threads: int, scratch: Path) -> list[Command]:
    if not args.psr_forensics:
        return []
    results = scratch / "results"
    command = [args.psr_forensics, "analyze", str(log), "--quiet", "--force", "--output", str(results)]
    command += ["--threads", str(threads)]
    named = {"psr-forensics": command}
    if args.rules:
        named["psr-forensics --pack"] = [*command, "--pack", str(args.rules)]
    return [Command(name, threads, c, (0, 4), lambda: records(results)) for name, c in named.items()]


def records(results: Path) -> int:
    return json.loads((results / "run.json").read_text())["counts"]["records"]


def lines(command: list[str]) -> int:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        return sum(1 for _ in process.stdout)


def write_pipeline(path: Path) -> None:
    """The processing pipeline that ties a rule to the channel and event ids of its logsource."""
    steps = []
    for kind, name, channel, ids in TAXONOMY:
        conditions = {"Channel": channel} | ({"EventID": ids} if ids else {})
        logsource = {"type": "logsource", "product": "windows", kind: name}
        steps.append(
            {
                "type": "add_condition",
                "prepend": True,
                "conditions": conditions,
                "rule_conditions": [logsource],
            }
        )
    # JSON is YAML.
    path.write_text(json.dumps({"name": "logsources", "priority": 10, "transformations": steps}))


def run(command: Command, errors: Path) -> Run:
    """Runs a command to its end."""
    with open(errors, "wb") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(command.arguments, stdout=subprocess.DEVNULL, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in command.right_codes:
        text = errors.read_text(errors="replace")[-2000:]
        sys.exit(f"{' '.join(command.arguments)}: exit code {code}\n{text}")
    return Run(wall, usage.ru_utime + usage.ru_stime, peak(usage))


def peak(usage: resource.struct_rusage) -> float:
    """Peak memory in MiB: Linux counts in KiB, macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def shown(memory: float) -> str:
    """A peak for a table. A process begins as a copy of this one, whose peak counts as its own."""
    own = peak(resource.getrusage(resource.RUSAGE_SELF))
    return f"{memory:.0f}" if memory > own else f"< {own:.0f}"


def measure(commands: list[Command], repeat: int, scratch: Path) -> dict[tuple[str, int], list[Run]]:
    """Runs all commands in turn, prints the table, and yields the runs."""
    runs: dict[tuple[str, int], list[Run]] = {(c.name, c.threads): [] for c in commands}
    out: dict[str, int] = {}
    for turn in range(repeat):
        print(f"turn {turn + 1} of {repeat}", file=sys.stderr)
        for command in commands:
            runs[command.name, command.threads].append(run(command, scratch / "stderr"))
            if command.name not in out:
                out[command.name] = command.count()
    print("| command | threads | median s | min s | cpu s | x evtx_dump | peak MiB | out |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for (name, threads), found in runs.items():
        walls = [r.wall for r in found]
        cells = [name, threads, f"{median(walls):.2f}", f"{min(walls):.2f}"]
        cells += [f"{median(r.cpu for r in found):.2f}"]
        paired = zip(walls, runs.get(("evtx_dump", threads), []))
        ratios = [wall / dump.wall for wall, dump in paired]
        cells += [f"{median(ratios):.2f}" if ratios else "-"]
        cells += [shown(max(r.memory for r in found)), out[name]]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    return runs


def print_growth(args, log, commands, runs, scratch) -> None:
    """Runs ours once more on a larger log."""
    big = args.growth
    print(f"\n{big.name}, {mib(big):.0f} MiB, {mib(big) / mib(log):.1f} times as large, one run\n")
    print("| command | threads | s | x time | cpu s | x cpu | peak MiB | x memory | records |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for threads in args.threads:
        for command in ours(args, big, threads, scratch)[:1]:
            once = run(command, scratch / "stderr")
            before = runs[command.name, threads]
            time_ratio = once.wall / median(r.wall for r in before)
            cpu_ratio = once.cpu / median(r.cpu for r in before)
            memory_ratio = once.memory / max(r.memory for r in before)
            cells = [command.name, threads, f"{once.wall:.1f}", f"{time_ratio:.1f}"]
            cells += [f"{once.cpu:.1f}", f"{cpu_ratio:.1f}"]
            cells += [shown(once.memory), f"{memory_ratio:.2f}", command.count()]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


def median(values) -> float:
    return statistics.median(values)


def mib(file: Path) -> float:
    return file.stat().st_size / 2**20


if __name__ == "__main__":
    main()
