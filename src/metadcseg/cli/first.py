"""What people need first of a command: its options in the order of its short help, and an example.

Nothing here waits for torch, so that ``--help`` answers at once.
"""

DEFAULT_METHOD = "calibrated"
"""The method of ``train`` where none is said."""

SHORT = {
    "epochs": (int, "N", "passes over the training cases"),
    "devices": (int, "N", "GPUs, or processes on a CPU, of each node"),
    "nodes": (int, "N", "machines that train together"),
    "precision": (str, "P", "32-true, bf16-mixed or auto"),
    "accelerator": (str, "A", "auto, cpu, cuda or mps"),
}
"""Training options so common that they go by their last name: type, placeholder, meaning."""

COMMON = {
    "--config": (
        "NAME",
        "auto (the default) chooses from your images, their objects and this machine; or a preset (small, demo, "
        "paper-...), or a YAML file",
    ),
    "--method": (
        "NAME",
        "how to learn from the masks: calibrated, binned, metadcseg (the paper's), l2b, supervised, or a "
        "baseline: adele, condseg, coteaching, glc, hamil, madgnet, maxformer, meta_weight_net, pairs, robust, "
        "trinet; "
        f"default {DEFAULT_METHOD}",
    ),
    "--training.size": ("S", "side of the square input grid, in pixels: a multiple of 16"),
    "--training.batch": ("N", "training cases per step"),
    "--training.threads": ("N", "processor threads"),
    "--network.width": ("N", "channels at full resolution: 8 is small, 64 the paper's"),
    "--supervised.gold": ("G", "with --method supervised: mixed trains on gold masks too, none does not"),
}
"""What is said in a few words of options that come with the network, the training and the methods."""

FIRST = {
    "train": (
        *("--data", "--out", "--method", "--config", "--epochs", "--seed", "--resume", "--label"),
        *("--training.size", "--network.width", "--training.batch", "--training.threads", "--devices"),
        "--supervised.gold",
    ),
    "cross-validate": (
        *("set", "--out", "--folds", "--gold", "--rate", "--method", "--config", "--epochs", "--seed"),
        *("--training.size", "--network.width", "--json"),
    ),
    "prepare": (
        *("what", "--out", "--source", "--gold", "--val", "--test", "--remap", "--ignore", "--spacing"),
        *("--limit", "--seed", "--json"),
    ),
    "check": ("path", "--source", "--gold", "--remap", "--ignore", "--val", "--test", "--seed", "--json"),
}
"""The options of a command's short help; of a command that is not here, the first dozen that it adds."""

USAGE = {"train": "--data SET --out RUN [OPTIONS]"}
"""How to call a command where its parser does not know what must be said."""

EXAMPLES = {
    "demo": ("metadcseg demo",),
    "prepare": ("metadcseg prepare my_folder --out my_set",),
    "check": ("metadcseg check my_folder",),
    "diagnose": ("metadcseg diagnose my_folder",),
    "corrupt": ("metadcseg corrupt my_set --rate 0.4 --out my_noisy_set",),
    "split": ("metadcseg split my_set --test 0.2 --out my_other_set",),
    "export-nnunet": ("metadcseg export-nnunet my_set --out nnUNet_raw",),
    "train": (
        "metadcseg train --data my_set --out my_run",
        "metadcseg train --resume my_run",
    ),
    "cross-validate": ("metadcseg cross-validate my_set --out my_folds --folds 5",),
    "evaluate": ("metadcseg evaluate my_run",),
    "audit": (
        "metadcseg audit my_run --out my_audit",
        "metadcseg audit my_audit --next 10",
    ),
    "predict": ("metadcseg predict my_run new_images --out new_masks",),
    "export": (
        "metadcseg export my_run --onnx my_model",
        "metadcseg export my_run --monai-bundle my_bundle",
    ),
    "accept": ("metadcseg accept my_audit/decisions.json --out my_better_folder",),
    "export-annotations": ("metadcseg export-annotations my_audit --to coco --out my_coco",),
    "import-predictions": (
        "metadcseg import-predictions my_set --predictions masks --tool nnU-Net --out imported",
    ),
    "compare": ("metadcseg compare runs/mine-0 runs/mine-1 runs/baseline-0 runs/baseline-1",),
    "benchmark": ("metadcseg benchmark grid.yaml --out my_benchmark",),
    "report": ("metadcseg report my_benchmark",),
    "completion": ('eval "$(metadcseg completion bash)"',),
}
"""What a first call of a command looks like."""
