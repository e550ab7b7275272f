"""The command line of a stage: its data set, its plan, its output folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from smaf.core.command import make_parser
from smaf.core.options import Options, add_options, option, plan_from
from smaf.data.layout import DataOptions
from smaf.engine.outputs import Output, Places
from smaf.engine.plans import StagePlan

LOGDIR = "smaf/logdir"
Plan = TypeVar("Plan", bound=StagePlan)


@dataclass(frozen=True)
class OutputOptions(Options):
    """Where a stage reads and writes by default, and what it does with what is there."""

    GROUP: ClassVar[str] = "output"

    out: str | None = option(
        None,
        "output folder; a run in it goes on where it stopped. Default: below --logdir, of saliency "
        "and gen_pm in the data set",
    )
    logdir: str = option(
        LOGDIR, "folder of the run, where stages write and look for each other's results"
    )
    overwrite: bool = option(False, "start afresh")
    resume: bool = option(
        False,
        "go on from --out's checkpoint, fail if there is none (without it: go on if there is one)",
    )
    evaluate: bool = option(False, "then compare the masks with the true ones, and write the mIoU")
    save_for_server: bool = option(
        False, "also pack results.tgz for PASCAL VOC's evaluation server (--list test)"
    )


_SOME_HAVE = ("resume", "evaluate", "save_for_server")  # of these


@dataclass(frozen=True)
class Job(Generic[Plan]):
    """What a command line asks for, with all places filled in; nothing is opened yet."""

    data: DataOptions
    plan: Plan
    output: Output
    options: OutputOptions


@dataclass(frozen=True)
class StageCommand(Generic[Plan]):
    """The command line of a stage.

    Args:
        plan: with the default values.
        about: what `--help` says of the command.
        out: the default output folder.
        also: options of :class:`OutputOptions` that only some stages have, and this one has.
        output: the default values of these options.
    """

    plan: Plan
    about: str
    out: Callable[[Places, Plan], Path]
    also: tuple[str, ...] = ()
    output: OutputOptions = OutputOptions()

    def parser(self) -> argparse.ArgumentParser:
        """The parser of all options."""
        parser = make_parser(self.plan.command, self.about)
        add_options(parser, DataOptions())
        add_options(parser, self.plan)
        add_options(parser, self.output, without=sorted({*_SOME_HAVE} - {*self.also}))
        return parser

    def read(self, argv: Sequence[str] | None = None) -> Job[Plan]:
        """The job that a command line asks for.

        Raises :class:`InputError` for values out of range.
        """
        args = self.parser().parse_args(argv)
        data, plan = plan_from(DataOptions(), args), plan_from(self.plan, args)
        options = plan_from(self.output, args)
        places = Places(Path(options.logdir), Path(data.data_root))
        plan = plan.located(places)
        folder = self.out(places, plan) if options.out is None else Path(options.out)
        return Job(data, plan, Output(folder, options.overwrite, options.resume), options)
