"""Inspects training data, converts it, and makes traces with a teacher.

    python launch/build_vlir.py inspect vlir.json --html=vlir.html

prints what a file holds (traces or questions as VLIR published them, or Qwen conversations): looks,
sizes, lengths, crop files that differ from its boxes, bad rows by reason with file and line.

    python launch/build_vlir.py convert vlir.json --output=records

makes it a TFDS data set in ArrayRecord files, which a config reads as "records:train"; stopped, the
same command goes on.

    python launch/build_vlir.py make --source=textvqa --data=textvqa/train.parquet --output=made \
        --teacher=http://localhost:8000/v1 --teacher_model=Qwen2.5-VL-72B-Instruct

asks a teacher for traces and filters them; stopped or killed, the same command goes on and asks
nothing twice. It ends with exit code 3 where something is left undecided: run it again.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from r3jax.run import entry, experiment, inspect_rows, make_vlir

LEFT_OUT = 20  # messages that are printed
UNDECIDED = 3  # exit code: run the same command again
FIELDS = ("source", "data", "images", "boxes", "benchmarks", "limit", "seed", "kept")
ROLES = {
    "teacher": "writes traces",
    "recognizer": "says what crops show",
    "judge": "compares answers and judges chains",
}


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the flags, and what else there is: overrides of the config of `make`."""
    parser = argparse.ArgumentParser(
        description="Inspect, convert and make training data.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="say what a file holds", allow_abbrev=False)
    _add_rows(inspect)
    inspect.add_argument("--html", metavar="PAGE", help="write a page with some of the rows")
    inspect.add_argument("--model", default=inspect_rows.MODEL, help="whose tokenizer counts")
    inspect.add_argument("--compared", type=int, default=200, help="rows whose crops are compared")
    inspect.add_argument("--shown", type=int, default=24, help="rows on the page")
    inspect.add_argument("--seed", type=int, default=0, help="which rows these are")
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    convert = commands.add_parser("convert", help="make it ArrayRecord files", allow_abbrev=False)
    _add_rows(convert)
    convert.add_argument("--output", required=True, help="directory of the data set")
    convert.add_argument("--split", default="train", help="the name of its split (%(default)s)")
    convert.add_argument("--shard_rows", type=int, default=1000, help="rows of a file")
    _add_make(commands.add_parser("make", help="ask a teacher for traces", allow_abbrev=False))
    args, overrides = parser.parse_known_args(argv)
    if overrides and args.command != "make":
        parser.error(f"unexpected argument {overrides[0]}")
    return args, overrides


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Other fields: --config.teacher.max_looks=3, --config.judge.endpoint.tries=9"
    parser.add_argument("--config", help="file whose get_config() has more or all of these")
    parser.add_argument("--output", required=True, help="directory of what is made")
    parser.add_argument("--source", help="textvqa, docvqa, infographicsvqa, gqa, vsr or vlir")
    parser.add_argument("--data", help="file of rows, or a folder of such files")
    parser.add_argument("--images", help="folder of images that rows name; default: beside them")
    parser.add_argument("--boxes", help="scene graphs of GQA, or the OCR file of TextVQA")
    parser.add_argument(
        "--benchmarks",
        nargs="+",
        metavar="NAME=PATH",
        help="what no sample may repeat: benchmarks, or files of questions without a name",
    )
    parser.add_argument("--limit", type=int, help="take only so many rows")
    parser.add_argument("--seed", type=int, help="which rows these are")
    parser.add_argument("--kept", help="file of kept answers; default: in the output")
    for role, does in ROLES.items():
        group = parser.add_argument_group(f"the {role}, which {does}")
        group.add_argument(f"--{role}", metavar="URL", help="OpenAI-compatible, up to /v1")
        group.add_argument(f"--{role}_model", metavar="NAME")
        group.add_argument(f"--{role}_key", metavar="VARIABLE", help="of the environment")
        group.add_argument(
            f"--{role}_price",
            type=float,
            nargs=2,
            metavar=("PROMPT", "REPLY"),
            help="dollars a million tokens",
        )


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """Adds what says how a file of rows is read."""
    parser.add_argument("file", help="a JSON list, or .jsonl")
    parser.add_argument("--images", default="", help="folder of its images; default: its own")
    parser.add_argument(
        "--tokens",
        type=int,
        nargs=2,
        default=(4, 2048),
        metavar=("LEAST", "MOST"),
        help="of an image of the size that boxes are pixels of (4 2048, as VLIR has them)",
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row")


def main(argv: Sequence[str] | None = None) -> int:
    args, overrides = parse(argv)
    if args.command == "make":
        left: list[int] = []
        failed = entry.call("make", lambda: left.append(make(args, overrides)))
        return failed or (UNDECIDED if left[0] else 0)
    command = {"inspect": inspect, "convert": convert}[args.command]
    return entry.call(args.command, lambda: command(args))


def inspect(args: argparse.Namespace) -> None:
    options = inspect_rows.Options(
        images=args.images,
        tokens=tuple(args.tokens),
        model=args.model,
        compared=args.compared,
        shown=args.shown,
        seed=args.seed,
        strict=args.strict,
    )
    found = inspect_rows.inspect(args.file, options, args.html)
    if args.json:
        print(json.dumps(found.as_json(), indent=2))
        return
    print("\n".join(found.lines()))
    if args.html:
        print(f"\n{args.html}")


def convert(args: argparse.Namespace) -> None:
    from r3jax.run import convert_rows  # TFDS takes seconds to import: only who needs it waits

    options = inspect_rows.Options(args.images, tuple(args.tokens), strict=args.strict)
    made = convert_rows.convert(args.file, args.output, options, args.split, args.shard_rows)
    for message in made.left_out[:LEFT_OUT]:
        print(f"left out: {message}")
    print(f"{made.records} records, {len(made.left_out)} rows left out; data: {made.name}")


def make(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Returns how many samples are undecided; of a run that was stopped, at least one is."""
    values = experiment.load(args.config) if args.config else {}
    given = {name: value for name, value in vars(args).items() if value is not None}
    values |= {name: given[name] for name in FIELDS if name in given}
    for role in ROLES:
        values = _with_role(values, role, given)
    made = make_vlir.make(make_vlir.read(experiment.override(values, overrides)), args.output)
    if made is None:
        print("stopped; the same command goes on")
        return 1
    print("\n".join(made.lines()))
    print(f"{made.traces} traces: {args.output}/sft.jsonl; {args.output}/report.html")
    return made.undecided


def _with_role(values: dict, role: str, given: dict) -> dict:
    """The config with what flags say of an endpoint."""
    names = {"url": role, "model": f"{role}_model", "key_variable": f"{role}_key"}
    endpoint = {field: given[flag] for field, flag in names.items() if flag in given}
    price = {"price": given[f"{role}_price"]} if f"{role}_price" in given else {}
    if not endpoint and not price:
        return values
    before = values.get(role) or {}
    return {
        **values,
        role: {**before, **price, "endpoint": {**before.get("endpoint", {}), **endpoint}},
    }


if __name__ == "__main__":
    sys.exit(main())
