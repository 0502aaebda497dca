"""The commands of the command line: one function that adds a command's options, one that runs it.

Each command is a pair of module and name, imported only when it is called, so that help and the checks of data
do not wait for torch.
"""

COMMANDS = {
    "demo": "metadcseg.commands.demo",
    "prepare": "metadcseg.commands.prepare",
    "check": "metadcseg.commands.check",
    "corrupt": "metadcseg.commands.corrupt",
    "split": "metadcseg.commands.split",
    "export-nnunet": "metadcseg.commands.export_nnunet",
    "train": "metadcseg.commands.train",
    "cross-validate": "metadcseg.commands.cross_validate",
    "evaluate": "metadcseg.commands.evaluate",
    "predict": "metadcseg.commands.predict",
    "benchmark": "metadcseg.commands.benchmark",
    "report": "metadcseg.commands.report",
}
"""Name -> module, which has ``DESCRIPTION``, ``add_options(parser)`` and ``run(options, console)``.

``options.given`` holds the options that were typed, as against those from a file or by default.
"""
