"""Keeps TABLE.md: which operations each client called, and which behaviours it was shown to meet, by what a run of `run` saw.

    table.py hear TOLD CLIENT ADMIN   what the server at ADMIN answered since it was last heard, CLIENT had asked for
    table.py update TOLD              writes the columns of those clients anew; all others stay
    table.py check TOLD               the same, and fails if a cell is lost by that, or fewer than two clients call an operation

TOLD is a directory: `heard` in it has a line for each time, `CLIENT.printed` what the client printed. A line "CLIENT: what it does", or
"CLIENT-VARIANT: what it does", is a behaviour; one that has a number there tells figures, which differ from run to run.
"""

import json
import re
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE / "TABLE.md"
HEAD = """# What works with which client

Made by `table.py` of what `server/sdk/run` saw. What is written here by hand is lost with the next run; the [README](README.md) tells what
the clients are. `tls` is boto3, JavaScript, Rust and Java over TLS alone.

## Operations

By the server's own counts: `works` has been answered, `refused` has only been refused, as the API documents it; an empty cell was not
tried. What differs from the service does so for every client; the row of
[Known differences](../../ARCHITECTURE.md#known-differences-from-the-service) that says how and why is named.
"""
BEHAVIOURS = """
## Behaviours

Each by the name that it has where it is checked. An empty cell was not checked with that client; what fails ends the run.
"""


def hear(told, client, admin):
    text = urllib.request.urlopen(f"http://{admin}/metrics", timeout=30).read().decode()
    samples = re.findall(r'^millstream_http_requests_total\{action="(\w+)",status="(\d+)"\} (\d+)', text, re.MULTILINE)
    now = {f"{action} {status}": int(count) for action, status, count in samples}
    last = told / "last"
    before = json.loads(last.read_text()) if last.exists() else {}
    last.write_text(json.dumps(now))
    outcomes = {}
    for answer in sorted(now, reverse=True):  # 200 comes last, and stays
        action, status = answer.split()
        if now[answer] == before.get(answer, 0) or action not in operations():
            continue
        if status >= "500":
            sys.exit(f"{client}: the server answered {status} to {action}: a fault of the server's, whatever the client made of it")
        outcomes[action] = "works" if status == "200" else "refused"
    with open(told / "heard", "a") as heard:
        heard.write(json.dumps([client, outcomes]) + "\n")


def clients_heard(told):
    """Outcomes by operation, and behaviours, of each client of this run."""
    found = {}
    speakers = "|".join(re.escape(path.name) for path in HERE.iterdir() if path.is_dir())
    for line in (told / "heard").read_text().splitlines() if (told / "heard").exists() else []:
        client, outcomes = json.loads(line)
        known = found.setdefault(client, ({}, []))[0]
        known.update({action: outcome for action, outcome in outcomes.items() if known.get(action) != "works"})
    for client, (_, behaviours) in found.items():
        for line in (told / f"{client}.printed").read_text().splitlines():
            said = re.fullmatch(rf"(?:{re.escape(client)}|{speakers})(?:-[\w-]+)?: (\D.*)", line)
            if said and said[1] not in behaviours:
                behaviours.append(said[1])
    return found


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(text, heading):
    """The rows of the table below a heading, with its head, without the line below that."""
    section = re.search(rf"^## {heading}.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    found = [cells(line) for line in section[0].splitlines() if line.startswith("|")] if section else []
    return found[:1] + found[2:]


def clients_written(text):
    """The same as was heard, of each client of the table."""
    found = {}
    for heading, part in (("Operations", 0), ("Behaviours", 1)):
        head, *rest = rows(text, heading) or [[]]
        for at, client in enumerate(head[1:], 1):
            if client == "differs":
                continue
            known = found.setdefault(client, ({}, []))[part]
            for row in rest:
                if row[at] and part == 0:
                    known[row[0]] = row[at]
                elif row[at]:
                    known.append(row[0])
    return found


def operations():
    """Those that the server has."""
    names = re.search(r"const NAMES: \[&str; \d+\] = \[(.*?)\];", (HERE / "../src/gateway/action.rs").read_text(), re.DOTALL)
    return re.findall(r'"(\w+)"', names[1])


def table(head, body):
    lines = [head, ["---"] * len(head), *body]
    return "\n" + "".join(re.sub(r" +", " ", "| " + " | ".join(line) + " |\n") for line in lines)


def write(clients):
    differences = rows((HERE / "../../ARCHITECTURE.md").read_text(), "Known differences")[1:]
    asked = []
    for operation in operations():
        named = [row[0].split(" (")[0] for row in differences if re.search(rf"\b{operation}\b", " ".join(row))]
        asked.append([operation, *(outcomes.get(operation, "") for outcomes, _ in clients.values()), "; ".join(named)])
    behaviours = dict.fromkeys(name for _, names in clients.values() for name in names)
    shown = [[name, *("works" if name in names else "" for _, names in clients.values())] for name in behaviours]
    return HEAD + table(["operation", *clients, "differs"], asked) + BEHAVIOURS + table(["behaviour", *clients], shown)


def said(clients):
    """Each cell, in a line."""
    found = []
    for client, (outcomes, names) in clients.items():
        found += [f"{client}: {name}: {outcome}" for name, outcome in [*outcomes.items(), *((name, "works") for name in names)]]
    return found


def update(told):
    """Which cells were lost; what changed is told cell by cell."""
    before = TABLE.read_text() if TABLE.exists() else ""
    clients = clients_written(before)
    old = said(clients)
    clients.update(clients_heard(told))
    new, after = said(clients), write(clients)
    TABLE.write_text(after)
    lost = [line for line in old if line not in new]
    for line in [f"TABLE.md - {line}" for line in lost] + [f"TABLE.md + {line}" for line in new if line not in old]:
        print(line)
    print("TABLE.md is true" if after == before else "TABLE.md is written anew")
    return lost


def check(told):
    if update(told):
        what = "server/sdk/TABLE.md told of more than was seen: it is true now, and differs as told above."
        sys.exit(f"{what} If something no longer works, or is no longer tried, mend that; else commit it")
    slow = re.search(r"^clients=\((.*)\)$", (HERE / "../../.ci/slow-clients").read_text(), re.MULTILINE)[1].split()
    absent = [client for client in slow if client not in clients_written(TABLE.read_text())]
    if absent:
        sys.exit(f"server/sdk/TABLE.md has no column of {', '.join(absent)}: server/sdk/run {' '.join(absent)} writes it")
    few = [row[0] for row in rows(TABLE.read_text(), "Operations")[1:] if row[1:-1].count("works") < 2]
    if few:
        sys.exit(f"no two clients call {', '.join(few)}: server/sdk/operations.json has steps for several at once, add some there")


if __name__ == "__main__":
    command, directory, *rest = sys.argv[1:]
    {"hear": hear, "update": update, "check": check}[command](Path(directory), *rest)
