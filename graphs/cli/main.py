"""The command `plan-execute`: a request in, live progress and an answer out.

Nothing heavy is imported before the command line is known to be good, so `--help` answers at once.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec

from plan_execute.graphs.cli.options import Options, parse, parse_mcp, parse_resume, parse_run, parse_thread_command
from plan_execute.graphs.cli.output import refuse
from plan_execute.graphs.cli.signals import exit_now, sigterm_as_interrupt

COMMANDS = {
    "run": "Carry out a plan that is kept in a file.",
    "threads": "List the stored threads, newest first.",
    "show": "Show what the last run of a thread planned, did, decided and answered.",
    "report": "Write what the last run of a thread did as a page of HTML that can be mailed.",
    "resume": "Resume an unfinished run exactly where it was interrupted, or where it waits for you.",
    "fork": "List the steps of a thread, or with --at begin a new thread in the state it had at one of them.",
    "mcp": "Serve the agent over MCP, on standard input and output, to Claude, Cursor and other clients.",
    "schema": "Print the JSON schema of plans in files, for editors that check YAML.",
    "prune": "Delete the checkpoints of a finished thread's milestones; plan, log and results stay.",
    "delete": "Delete a thread with everything that is stored of it.",
}
"""The first words that are commands, and what each does."""
NEEDED = ("click", "jinja2", "markdown_it", "rich", "yaml")
"""The modules of the extra `cli`, which an agent that is embedded does without."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status.

    An error that the user caused is one sentence on stderr. After Ctrl-C, SIGTERM or a closed pipe the process ends
    here, a run that can be resumed at its next checkpoint: a call that waits for its model could otherwise delay it for
    minutes.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        with sigterm_as_interrupt():
            try:
                return _run_command(words)
            finally:
                sys.stdout.flush()
    except (KeyboardInterrupt, OSError) as stop:
        exit_now(stop, as_json="--json" in words)


def _run_command(words: Sequence[str]) -> int:
    command = words[0] if words and words[0] in COMMANDS else ""
    if command == "resume":
        options = parse_resume(words[1:], COMMANDS[command])
    elif command == "run":
        options = parse_run(words[1:], COMMANDS[command])
    elif command == "mcp":
        options = parse_mcp(words[1:], COMMANDS[command])
    elif command:
        options = parse_thread_command(command, words[1:], COMMANDS[command])
    else:
        options = parse(words)
    if missing := [name for name in NEEDED if not find_spec(name)]:
        return refuse(
            f"The command needs more packages ({', '.join(missing)}): pip install '.[cli]' in a clone, or pip install "
            "'PATH/TO/WHEEL.whl[cli]'.",
            as_json=options.json,
        )
    if command == "mcp":
        from plan_execute.graphs.cli.run_commands import serve_mcp

        return serve_mcp(options)
    _announce_start(options)
    if command in {"", "run", "resume"}:
        from plan_execute.graphs.cli.run_commands import run

        return run(options, resume=command == "resume")
    from plan_execute.graphs.cli import thread_commands

    return thread_commands.COMMANDS[command](options)


def _announce_start(options: Options) -> None:
    """Say at once that something happens, because the imports take seconds; what comes next is written over it."""
    stream = sys.stderr if options.json else sys.stdout
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if stream.isatty():
        print("Starting ...", end="\r", file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
