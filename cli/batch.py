"""``dagger-edge batch``: a file of Bengali word problems in, a line for each out."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ..runtime.errors import UsageError
from .decoding import decode_options, decoding_options, model_options

if TYPE_CHECKING:
    from ..runtime.batch.batch import Progress
    from ..runtime.batch.solving import Solve
    from ..runtime.batch.work import Engine
    from ..runtime.ort import Provider
    from .tables import Format, Table


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--errors", type=click.Path(path_type=Path), help="Rows without a result.  [default: OUT.errors.jsonl]")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]), help="Of IN.  [default: its ending says]"
)
@click.option("--question-field", metavar="PATH", help="Field or column of the question.  [default: question]")
@click.option(
    "--id-field", metavar="PATH", help="Field or column of the row's id.  [default: custom_id, id or request_id]"
)
@click.option("--ordered", is_flag=True, help="Write rows in the order of IN, not as they come.")
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Where to work."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 4096),
    help="Processes, each with a model of its own.  [default: none but this; with ray, one a machine]",
)
@click.option("--ray-address", metavar="HOST:PORT", help="Of a Ray cluster.  [default: one is started here]")
@click.option("--progress/--no-progress", default=True, help="Say on stderr how far it is.")
@model_options
@decoding_options
def command(
    source: Path,
    out: Path,
    *,
    errors: Path | None,
    form: str | None,
    question_field: str | None,
    id_field: str | None,
    ordered: bool,
    engine: str,
    workers: int | None,
    ray_address: str | None,
    progress: bool,
    bundle: Path | None,
    provider: str,
    threads: int | None,
    verify: bool,
    samples: int | None,
    **decoding: Any,
) -> None:
    """Answer every question of IN (JSON Lines, csv or parquet), and add a line to OUT (JSON Lines) for each.

    After a kill, a power cut or a full disk, the same command goes on: no row is lost, none is there twice. A row
    without an answer is a line in the file of errors, with its reason. The first SIGINT or SIGTERM lets the rows in
    hand end, the second one does not. docs/batch.md says what is guaranteed. Exit code 1: some row has no answer;
    5: another batch writes to OUT; 6: stopped before the end.
    """
    options = decode_options(decoding, several=samples is not None)
    if ray_address is not None and engine != "ray":
        raise UsageError("--ray-address is for --engine ray")
    from ..runtime.batch.solving import Solve
    from ..runtime.solver import demo_bundle
    from .tables import Table, format_of

    table = Table(source, format_of(source, cast("Format | None", form)), question_field, id_field)
    task = Solve(
        bundle=(bundle or demo_bundle()).absolute(),
        provider=cast("Provider", provider),
        threads=_threads(threads, workers, engine),
        verify=verify,
        options=options,
        samples=samples,
    )
    errors = errors or out.with_name(f"{out.stem}.errors.jsonl")
    job = _Job(table, task, out, errors, ordered=ordered, shows=progress)
    done = job.run(_engine(engine, workers, task.threads, ray_address))
    if done.failed:
        raise click.exceptions.Exit(1)


class _Job:
    """One run of the command."""

    def __init__(self, table: Table, task: Solve, out: Path, errors: Path, *, ordered: bool, shows: bool) -> None:
        self._table, self._task, self._out, self._errors = table, task, out, errors
        self._ordered, self._shows = ordered, shows

    def run(self, engine: Engine) -> Progress:
        """Works on what is not done yet.

        Raises:
            KeyboardInterrupt: it was stopped before the end.
            DaggerEdgeError: as of `run_batch`.
        """
        from ..runtime.batch.batch import run_batch
        from ..runtime.batch.ledger import Ledger
        from ..runtime.batch.state import InputMark, State
        from ..runtime.batch.stopping import Stop, stopped_by_signals
        from .progress import RowLine

        self._check_paths()
        mark = InputMark.of(self._table.path)
        options = {
            **self._task.fingerprint(),
            "format": self._table.form,
            "question_field": self._table.question,
            "id_field": self._table.id,
            "ordered": self._ordered,
        }
        state = State(mark, options, os.path.relpath(self._errors.absolute(), self._out.absolute().parent))
        total, stop = self._table.count(), Stop()
        line = RowLine(total)
        with closing(line), Ledger(self._out, state) as ledger, stopped_by_signals(stop, self._tell_stop):
            self._tell_beginning(total, len(ledger.done), ledger.torn)
            done = run_batch(
                self._table.rows(),
                self._task,
                engine,
                ledger,
                ordered=self._ordered,
                stopped=stop,
                tell=line.tell if self._shows else lambda _progress: None,
            )
        click.echo(
            f"{done.done:,} of {total:,} rows are done, {done.done - done.before:,} of them now;"
            f" {done.failed:,} without a result"
            + (f": see {click.format_filename(self._errors)}" if done.failed else ""),
            err=True,
        )
        if done.done < total:
            raise KeyboardInterrupt
        if InputMark.of(self._table.path) != mark:
            raise UsageError(f"{self._table.path}: was changed meanwhile: whether {self._out} is of it, is not known")
        return done

    def _check_paths(self) -> None:
        paths = [path.resolve() for path in (self._table.path, self._out, self._errors)]
        if len(set(paths)) < len(paths):
            raise UsageError("IN, OUT and the file of errors are not three files: name others")

    def _tell_beginning(self, total: int, done: int, torn: int) -> None:
        if torn:
            click.echo(f"cut off {torn:,} bytes of a line that was not finished", err=True)
        if done:
            click.echo(f"going on: {done:,} of {total:,} rows are done", err=True)

    def _tell_stop(self) -> None:
        click.echo("stopping: the rows in hand are finished first; once more to stop at once", err=True)


def _threads(threads: int | None, workers: int | None, engine: str) -> int | None:
    """What was asked for, else this machine's cores shared out among the workers; None leaves it to the engine."""
    if threads is not None or workers is None or engine == "ray":
        return threads
    from ..runtime.kernels.machine import usable_cores

    return max(1, usable_cores() // workers)


def _engine(name: str, workers: int | None, threads: int | None, address: str | None) -> Engine:
    if name == "ray":
        from ..runtime.batch.cluster import Cluster

        return Cluster(address=address, workers=workers, cpus=threads)
    if workers is None:
        from ..runtime.batch.local import InProcess

        return InProcess()
    from ..runtime.batch.workers import Workers

    return Workers(workers)
