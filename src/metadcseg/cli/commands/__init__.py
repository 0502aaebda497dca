"""The commands of the command line: one function that adds a command's options, one that runs it.

Each command is a pair of module and name, imported only when it is called, so that help and the checks of data
do not wait for torch.
"""

COMMANDS = {
    "demo": "metadcseg.cli.commands.demo",
    "prepare": "metadcseg.cli.commands.prepare",
    "check": "metadcseg.cli.commands.check",
    "diagnose": "metadcseg.cli.commands.diagnose",
    "corrupt": "metadcseg.cli.commands.corrupt",
    "split": "metadcseg.cli.commands.split",
    "export-nnunet": "metadcseg.cli.commands.export_nnunet",
    "train": "metadcseg.cli.commands.train",
    "cross-validate": "metadcseg.cli.commands.cross_validate",
    "evaluate": "metadcseg.cli.commands.evaluate",
    "audit": "metadcseg.cli.commands.audit",
    "predict": "metadcseg.cli.commands.predict",
    "export": "metadcseg.cli.commands.export",
    "accept": "metadcseg.cli.commands.accept",
    "export-annotations": "metadcseg.cli.commands.export_annotations",
    "import-predictions": "metadcseg.cli.commands.import_predictions",
    "compare": "metadcseg.cli.commands.compare",
    "benchmark": "metadcseg.cli.commands.benchmark",
    "report": "metadcseg.cli.commands.report",
    "completion": "metadcseg.cli.commands.completion",
}
"""Name -> module, which has ``DESCRIPTION``, ``add_options(parser)`` and ``run(options, console)``.

``options.given`` holds the options that were typed, as against those from a file or by default.
"""
