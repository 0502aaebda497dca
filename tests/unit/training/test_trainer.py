import json
import signal
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from tests.unit.training.helpers import NETWORK, Fake, make_set, options, run

from metadcseg import files
from metadcseg.data.store.layout import chunk_file
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError, Note
from metadcseg.files import lock_folder
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import load_run, read_run, train
from metadcseg.training import trainer as loop
from metadcseg.training.restore import restore_state
from metadcseg.training.run.checkpoints import load_checkpoint
from metadcseg.training.run.model_file import load_weights
from metadcseg.training.trainer import Trainer


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def timeless(out):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in lines(out)]


def same_end(one, two):
    """Compare everything that a run leaves behind, save the seconds it took."""
    first, second = (load_checkpoint(out / "checkpoints") for out in (one, two))
    for part in ("network", "updater", "method", "means"):
        assert_equal(first[part], second[part], part)
    assert timeless(one) == timeless(two)
    weights, facts = load_weights(one / "model.safetensors")
    others, other_facts = load_weights(two / "model.safetensors")
    assert facts == other_facts
    assert_equal(weights, others, "weights")


def assert_equal(one, two, where):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        for number, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_equal(a, b, f"{where}[{number}]")
    else:
        assert one == two, where


def test_a_run_leaves_everything_in_its_folder(disks, tmp_path, registered):
    out = tmp_path / "run"
    result = run(disks, out, seed=3, changed={"figure_every": 2, "epochs": 3})
    assert (result.interrupted, result.epochs_done) == (False, 3)
    info = read_run(out)
    assert info["status"] == "finished"
    assert info["set"]["fingerprint"] == disks.fingerprint
    assert (info["method"], info["seed"], info["parameters"]) == ("fake", 3, 44)
    assert info["declaration"]["needs_gold"] is False
    assert info["best"]["epoch"] == result.best_epoch
    assert yaml.safe_load((out / "config.yaml").read_text())["training"]["lr"] == 0.1
    records = lines(out)
    assert [(r["kind"], r["epoch"], r["step"]) for r in records] == [
        ("epoch", e, 4 * (e + 1)) for e in range(3)
    ]
    assert records[0]["lr"] == pytest.approx(0.05)
    assert records[0]["val"]["cases"] == 3
    best = max(records, key=lambda r: (r["val"]["dsc"], -r["epoch"]))
    assert (result.best_epoch, result.best_dsc) == (best["epoch"], best["val"]["dsc"])
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["epoch_002.png", "epoch_003.png"]
    assert (out / "figures/epoch_002.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").iterdir())
    trained = load_run(out, trust_code=True)
    probabilities = trained.predict(torch.zeros(1, 1, 16, 16))
    assert probabilities.shape == (1, 2, 16, 16)
    assert not trained.network.training


def test_it_learns(disks, tmp_path):
    result = run(disks, tmp_path / "run", changed={"epochs": 25, "lr": 0.5, "ema_decay": 0.5})
    assert lines(tmp_path / "run")[0]["val"]["dsc"] < result.best_dsc
    assert result.best_dsc > 0.8


def test_the_same_seed_gives_the_same_run_and_another_another(disks, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name) + seed)  # the caller's randomness must not matter
        run(disks, tmp_path / name, seed=seed)
    same_end(tmp_path / "a", tmp_path / "b")
    assert timeless(tmp_path / "a") != timeless(tmp_path / "c")


def test_the_callers_random_state_threads_and_handlers_come_back(disks, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    run(disks, tmp_path / "run")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), signal.getsignal(signal.SIGTERM))


def stopping_at(step, gold):
    """Return a method that sends this process a signal within one step."""

    class StopAt(Fake):
        def step(self, state, noisy, gold):
            report = super().step(state, noisy, gold)
            if len(self.log) == step:
                signal.raise_signal(signal.SIGTERM)
            return report

    return StopAt(gold=gold)


def test_a_stop_while_the_end_is_written_is_told_to_whoever_would_go_on(disks, tmp_path, monkeypatch):
    write_info = Trainer.write_info

    def stopped(loop, status):
        if status == "finished":
            signal.raise_signal(signal.SIGTERM)
        write_info(loop, status)

    monkeypatch.setattr(Trainer, "write_info", stopped)
    result = run(disks, tmp_path / "run")
    assert result.interrupted
    assert read_run(tmp_path / "run")["status"] == "finished"
    assert not run(disks, tmp_path / "run", resume=True).interrupted


def test_of_a_run_in_parts_the_larger_memory_is_kept(disks, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "peak_memory", lambda device: 7_000)
    stopped = run(disks, tmp_path / "run", stopping_at(2, gold=False), changed={"epochs": 2})
    assert stopped.interrupted
    monkeypatch.setattr(loop, "peak_memory", lambda device: 5_000)
    run(disks, tmp_path / "run", changed={"epochs": 3}, resume=True)
    assert read_run(tmp_path / "run")["gpu_peak_bytes"] == 7_000


def test_a_cpu_has_no_memory_of_its_own(disks, tmp_path):
    run(disks, tmp_path / "run")
    assert read_run(tmp_path / "run")["gpu_peak_bytes"] is None


@pytest.fixture(scope="module", params=[False, True], ids=["no gold", "gold"])
def whole(request, disks, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    run(disks, out, Fake(gold=request.param), changed={"figure_every": 3})
    return request.param, out


@pytest.mark.parametrize("step", [4, 6])  # 4 steps per epoch: in the middle, at an end
def test_sigterm_saves_and_resume_goes_on_bit_for_bit(disks, tmp_path, step, whole):
    gold, uninterrupted = whole
    changed = {"figure_every": 3}
    out = tmp_path / "parts"
    stopped = run(disks, out, stopping_at(step, gold), changed=changed)
    assert stopped.interrupted
    assert read_run(out)["status"] == "interrupted"
    trainer_state = load_checkpoint(out / "checkpoints")["position"]
    assert 4 * trainer_state["epoch"] + trainer_state["step"] == step
    done = run(disks, out, Fake(gold=gold), resume=True, changed=changed)
    assert not done.interrupted
    same_end(uninterrupted, out)
    figure = "figures/epoch_003.png"
    assert (out / figure).read_bytes() == (uninterrupted / figure).read_bytes()


def test_a_signal_in_another_thread_is_left_alone(disks, tmp_path):
    results = []
    worker = threading.Thread(target=lambda: results.append(run(disks, tmp_path / "run")))
    worker.start()
    worker.join()
    assert results[0].epochs_done == 3


def test_lines_beyond_the_checkpoint_are_dropped(disks, tmp_path):
    out = tmp_path / "run"
    run(disks, out, changed={"epochs": 2})
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "epoch", "epoch": 2}\n{"kind": "ep')  # killed while writing
    run(disks, out, resume=True, changed={"epochs": 4})
    assert [record["epoch"] for record in lines(out)] == [0, 1, 2, 3]


def test_epochs_may_grow_and_the_schedule_does_not_notice(disks, tmp_path):
    run(disks, tmp_path / "whole", changed={"epochs": 4})
    run(disks, tmp_path / "parts", changed={"epochs": 2})
    run(disks, tmp_path / "parts", resume=True, changed={"epochs": 4})
    same_end(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(InputError, match=r"training\.epochs: 4 there, 2 now"):
        run(disks, tmp_path / "parts", resume=True, changed={"epochs": 2})


def test_a_finished_run_is_left_as_it_is(disks, tmp_path):
    out = tmp_path / "run"
    first = run(disks, out)
    method = Fake()
    again = run(disks, out, method, resume=True)
    assert method.log == []
    assert again.best_dsc == first.best_dsc
    before = read_run(out)
    run(disks, out, resume=True, label="new name")
    assert read_run(out) == before | {"label": "new name"}


def test_a_folder_that_holds_something_else_is_refused(disks, tmp_path):
    out = tmp_path / "run"
    run(disks, out, seed=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"already holds this run \(finished, 3 epochs done\); add --resume"):
        run(disks, out, seed=1)
    with pytest.raises(InputError, match=r"a different run .seed: 1 there, 2 now"):
        run(disks, out, seed=2)
    with pytest.raises(InputError, match=r"training\.lr: 0\.1 there, 0\.2 now"):
        run(disks, out, seed=1, resume=True, changed={"lr": 0.2})
    with pytest.raises(InputError, match=r"fake\.maps: True there, False now"):
        run(disks, out, Fake(maps=False), seed=1, resume=True)
    other = make_set(tmp_path / "other", train=5)
    with pytest.raises(InputError, match=r"data: fingerprint .* there, fingerprint .* now"):
        run(other, out, seed=1, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds files that are no run of metadcseg \(thesis\.tex\)"):
        run(disks, tmp_path / "mine")
    with pytest.raises(InputError, match="is a file"):
        run(disks, tmp_path / "mine/thesis.tex")
    with pytest.raises(InputError, match="cannot be made"):
        run(disks, tmp_path / "mine/thesis.tex/run")


def test_where_it_runs_may_change(disks, tmp_path):
    out = tmp_path / "run"
    run(disks, out)
    assert not run(disks, out, resume=True, changed={"threads": 2, "checkpoint_minutes": 1.0}).interrupted


def test_resume_in_a_new_folder_just_starts(disks, tmp_path):
    assert run(disks, tmp_path / "run", resume=True).epochs_done == 3


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(disks, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(
        InputError, match=r"training stopped in epoch 2, step 2: the loss .* lower training\.lr"
    ):
        run(disks, out, Fake(poison=7 + 2))
    assert load_checkpoint(out / "checkpoints")["position"]["epoch"] == 1
    assert read_run(out)["status"] == "failed"
    assert len(lines(out)) == 1


def test_a_run_that_the_disk_ends_is_recorded_as_failed(disks, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Trainer, "run", broken)
    with pytest.raises(InputError, match="Input/output error"):
        run(disks, tmp_path / "run")
    assert read_run(tmp_path / "run")["status"] == "failed"


def test_one_process_at_a_time_trains_in_a_folder(disks, tmp_path):
    for resume in (False, True):
        with (
            lock_folder(tmp_path / "run", "busy"),
            pytest.raises(InputError, match=r"--out .*run: another process trains there"),
        ):
            run(disks, tmp_path / "run", resume=resume)
        assert run(disks, tmp_path / "run", resume=resume).epochs_done == 3


def test_a_training_that_ends_before_its_weights_begin_says_so(disks, tmp_path):
    for warmup, said in ((3, True), (2, False)):
        console = Console(file=StringIO(), width=300)
        method = create_method("metadcseg", warmup=warmup)
        train(disks, method, NETWORK, options(ema_decay=0.9), tmp_path / str(warmup), console=console)
        assert ("will not leave its warm-up: training has 3 epochs" in console.file.getvalue()) == said


@pytest.mark.parametrize(
    ("gold", "method", "said"),
    [
        (3, {"pairs": False, "stand_in": 4, "warmup": 0}, "shorten calibrated.stand_in"),
        (3, {"pairs": False, "stand_in": 0, "meta": True, "warmup": 4}, "shorten calibrated.warmup"),
        (1, {"pairs": False, "stand_in": 4}, None),  # no epoch more would help: 2 gold cases are too few
    ],
)
def test_the_option_that_makes_the_warm_up_is_named_where_it_would_help(tmp_path, gold, method, said):
    console, few = Console(file=StringIO(), width=300), make_set(tmp_path / "few", gold=gold)
    train(
        few,
        create_method("calibrated", **method),
        NETWORK,
        options(epochs=1),
        tmp_path / "run",
        console=console,
    )
    told = console.file.getvalue()
    assert ("learns trust from 2 on" in told) == (gold == 1)
    assert "will not leave its warm-up" in told if said else "warm-up" not in told
    assert (said or "") in told


def test_without_gold_a_method_that_reads_none_warns_of_nothing(tmp_path):
    console, none = Console(file=StringIO(), width=300), make_set(tmp_path / "none", gold=0)
    train(none, create_method("supervised"), NETWORK, options(epochs=1), tmp_path / "run", console=console)
    assert "no gold" in console.file.getvalue()
    assert "warning" not in console.file.getvalue()


def test_a_weight_that_is_no_number_is_found_before_it_is_saved(disks, tmp_path):
    class Silent(Fake):
        def step(self, state, noisy, gold):
            report = super().step(state, noisy, gold)
            if len(self.log) == 8:
                with torch.no_grad():
                    next(state.network.parameters()).fill_(float("inf"))
            return report

    with pytest.raises(InputError, match="epoch 2, step 4: a weight of the network"):
        run(disks, tmp_path / "run", Silent())
    assert load_checkpoint(tmp_path / "run/checkpoints")["position"]["epoch"] == 1


def test_a_method_is_told_how_many_verified_images_there_are(disks, tmp_path):
    told = []

    class Asking(Fake):
        def start(self, network, updater, generator, storage):
            told.append((updater.gold_images, updater.gold_batch))
            return super().start(network, updater, generator, storage)

    for gold in (True, False):
        run(disks, tmp_path / str(gold), Asking(gold=gold), changed={"epochs": 1})
    assert told == [(3, 2), (0, 2)]


def test_gold_is_drawn_only_where_it_is_declared(disks, tmp_path):
    with_gold, without = Fake(gold=True), Fake()
    run(disks, tmp_path / "a", with_gold, changed={"epochs": 1})
    run(disks, tmp_path / "b", without, changed={"epochs": 1})
    assert all(len(gold) == 2 for _, gold in with_gold.log)
    assert all(gold is None for _, gold in without.log)
    assert [noisy for noisy, _ in with_gold.log] == [noisy for noisy, _ in without.log]
    assert sorted(i for noisy, _ in without.log for i in noisy) == list(range(7))


def test_the_roles_that_are_not_declared_are_never_read(tmp_path):
    prepared = make_set(tmp_path / "set")
    for role in ("test", "gold"):
        for case in prepared.select(role):
            for place in prepared._places[case.row].values():
                chunk_file(prepared.path, place.array, place.index).write_bytes(b"broken")
            with pytest.raises(InputError):
                prepared.image(case)
    reopened = PreparedSet.open(tmp_path / "set")
    assert len(reopened.verify()) == 2 * (2 + 3)
    assert run(reopened, tmp_path / "run").epochs_done == 3
    with pytest.raises(InputError, match="gold"):
        run(reopened, tmp_path / "gold", Fake(gold=True))


def test_what_the_method_needs_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"needs verified masks .* no gold cases"):
        run(make_set(tmp_path / "no-gold", gold=0), tmp_path / "a", Fake(gold=True))
    with pytest.raises(InputError, match="trains on reference masks"):
        run(make_set(tmp_path / "no-truth"), tmp_path / "b", Fake(labels="truth"))
    with pytest.raises(InputError, match="no train cases"):
        run(make_set(tmp_path / "no-train", train=0), tmp_path / "c")
    assert not (tmp_path / "a").exists()
    run(make_set(tmp_path / "truth", truth=True), tmp_path / "d", Fake(labels="truth"))


def test_without_validation_cases_the_last_weights_are_kept(tmp_path):
    result = run(make_set(tmp_path / "set", val=0), tmp_path / "run", changed={"ema_decay": 0.0})
    assert (result.best_epoch, result.best_dsc) == (None, None)
    weights, facts = load_weights(tmp_path / "run/model.safetensors")
    assert facts == {"epoch": "2"}
    assert_equal(weights, load_checkpoint(tmp_path / "run/checkpoints")["network"], "weights")


def test_validation_can_be_rarer(disks, tmp_path):
    run(disks, tmp_path / "run", changed={"validate_every": 2, "epochs": 3})
    assert [record["val"] is None for record in lines(tmp_path / "run")] == [True, False, False]


def test_checkpoints_within_an_epoch(disks, tmp_path):
    class Dies(Fake):
        def step(self, state, noisy, gold):
            if len(self.log) == 6:
                raise RuntimeError("the plug was pulled")
            return super().step(state, noisy, gold)

    with pytest.raises(RuntimeError, match="plug"):
        run(disks, tmp_path / "run", Dies(), changed={"checkpoint_minutes": 0.0})
    trainer_state = load_checkpoint(tmp_path / "run/checkpoints")["position"]
    assert (trainer_state["epoch"], trainer_state["step"]) == (1, 2)
    run(disks, tmp_path / "run", resume=True)
    run(disks, tmp_path / "whole")
    same_end(tmp_path / "whole", tmp_path / "run")


def test_bfloat16_trains(disks, tmp_path):
    assert run(disks, tmp_path / "run", changed={"precision": "bf16-mixed", "epochs": 1}).best_dsc is not None


def test_channels_last_is_the_same_training_to_rounding(disks, tmp_path):
    ends, orders = [], []
    for name, last in (("plain", False), ("last", True)):
        method = create_method("binned", warmup=0)
        changed = {"channels_last": last, "epochs": 1, "size": 32}
        train(disks, method, NetworkOptions(width=2), options(**changed), tmp_path / name)
        saved = load_checkpoint(tmp_path / name / "checkpoints")["network"]
        kernel = saved["module.conv_1_0.convs.conv_0.conv.weight"]
        orders.append(kernel.is_contiguous(memory_format=torch.channels_last))
        ends.append(torch.cat([value.flatten() for value in saved.values()]))
    assert orders == [False, True]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)
    assert not torch.equal(ends[0], torch.zeros_like(ends[0]))


def test_a_run_says_what_it_began_with_and_needs_the_file_no_more(disks, tmp_path):
    file = tmp_path / "own.pth"
    torch.save({"layers.0.weight": torch.ones(3, 3, 3, 3), "fc.bias": torch.ones(1)}, file)
    began = replace(NETWORK, pretrained=str(file))
    with pytest.warns(Note, match="1 of the network's 8 tensors are from the file"):
        train(disks, create_method("supervised"), began, options(epochs=1), tmp_path / "run")
    file.unlink()
    train(disks, create_method("supervised"), began, options(epochs=2), tmp_path / "run", resume=True)
    said = read_run(tmp_path / "run")
    assert {name: said["pretrained"][name] for name in ("taken", "tensors", "unused")} == {
        "taken": 1,
        "tensors": 8,
        "unused": 1,
    }
    kernel = load_run(tmp_path / "run", trust_code=True).network.module.layers[0].weight
    assert kernel.mean() > 1.5  # three channels of ones in one, little trained
    with restore_state(
        tmp_path / "run", disks, create_method("supervised"), began, options(epochs=2)
    ) as state:
        assert state.network.module.layers[0].weight.mean() > 1.5


class Halving(torch.nn.Module):
    """Takes images of even sides alone, and of so many channels."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.up, self.head = torch.nn.ConvTranspose2d(4, 4, 2, 2), torch.nn.Conv2d(4 + channels, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([images, self.up(self.down(images))], 1))


@pytest.mark.parametrize(
    ("size", "channels", "says"),
    [
        (
            33,
            1,
            r"take images of 33 x 33 with 1 channel \(RuntimeError: Sizes of tensors must.*: change training.size",
        ),
        (32, 3, r"of 32 x 32 with 1 channel \(.*expected input.*or network.init_args"),
        (32, 1, None),
    ],
)
def test_a_network_of_ones_own_is_asked_before_anything_is_written(disks, tmp_path, size, channels, says):
    own = NetworkOptions(class_path=f"{__name__}.Halving", init_args={"channels": channels})
    words = disks, create_method("supervised"), own, options(epochs=1, size=size), tmp_path / "run"
    if says is None:
        assert train(*words).epochs_done == 1
        return
    with pytest.raises(InputError, match=says):
        train(*words)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there(disks, tmp_path):
    with pytest.raises(InputError, match=r"training\.accelerator: cuda is not to be had"):
        run(disks, tmp_path / "run", changed={"accelerator": "cuda"})
    assert not (tmp_path / "run").exists()


def test_the_config_given_is_recorded(disks, tmp_path):
    train(disks, Fake(), NETWORK, options(epochs=1), tmp_path / "run", config={"a": (1, 2)}, label="mine")
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == {"a": [1, 2]}
    assert read_run(tmp_path / "run")["label"] == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_saving_costs_nothing_that_was_saved(disks, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(disks, out, changed={"epochs": 2})
    checkpoints = out / "checkpoints"
    before = {path.name: path.read_bytes() for path in checkpoints.iterdir()}
    create = files.create_hidden

    def on_a_full_disk(folder):
        path, file = create(folder)
        if folder != checkpoints:
            return path, file
        file.close()
        return path, Path("/dev/full").open("wb")

    with monkeypatch.context() as patch:
        patch.setattr(files, "create_hidden", on_a_full_disk)
        with pytest.raises(InputError, match=r"last\.pt: the disk is full; .* go on with --resume"):
            run(disks, out, resume=True, changed={"epochs": 3})
    assert before == {path.name: path.read_bytes() for path in checkpoints.iterdir()}
    assert read_run(out)["status"] == "failed"
    load_weights(out / "model.safetensors")
    run(disks, out, resume=True, changed={"epochs": 3})
    run(disks, tmp_path / "whole", changed={"epochs": 3})
    same_end(tmp_path / "whole", out)


def test_a_damaged_checkpoint_stops_resume_and_the_way_out_leads_to_the_same_end(disks, tmp_path):
    run(disks, tmp_path / "whole")
    out = tmp_path / "run"
    run(disks, out, stopping_at(6, False))
    last = out / "checkpoints/last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"last\.pt: the checkpoint is damaged .* delete last\.pt"):
        run(disks, out, resume=True)
    last.unlink()
    run(disks, out, resume=True)
    same_end(tmp_path / "whole", out)


@pytest.mark.parametrize(("uses", "has", "said"), [(True, False, 1), (False, False, 0), (True, True, 0)])
def test_a_set_without_edges_is_said_once_where_they_would_be_used(tmp_path, uses, has, said):
    console = Console(file=StringIO(), width=300)
    run(make_set(tmp_path / "set", edges=has), tmp_path / "run", Fake(edges=uses), console=console)
    assert console.file.getvalue().count("edges are off: the set has none") == said


@pytest.mark.parametrize(("asks", "held"), [(True, 3), (True, 2), (True, 0), (False, 3)])
def test_gold_comes_with_the_masks_that_it_replaced_where_the_method_asks(tmp_path, asks, held):
    console, method = Console(file=StringIO(), width=300), Fake(gold=True, pairs=asks)
    prepared = make_set(tmp_path / "set", pairs=held)
    run(prepared, tmp_path / "run", method, console=console, changed={"gold_batch": 3})
    said = console.file.getvalue()
    assert (f", 3 gold ({held} with the mask that it replaced)" in said) == asks
    assert all(noisy.given is None for noisy, _ in method.batches)
    for _, gold in method.batches:
        if not (asks and held):
            assert gold.given is None
            continue
        unknown = (gold.given == 255).flatten(1).all(dim=1)
        assert unknown.tolist() == [index >= held for index in gold.indices.tolist()]
        assert not torch.equal(gold.given, gold.labels)
    info = read_run(tmp_path / "run")
    assert info["set"]["pairs"] == {"cases": held, "volumes": None}
    assert info["declaration"]["uses_pairs"] == asks


@pytest.mark.parametrize(("size", "told"), [(4, True), (8, False)])
def test_objects_that_the_size_shrinks_to_a_few_pixels_are_told_once(disks, tmp_path, size, told):
    told_to = Console(file=StringIO(), width=300)
    run(disks, tmp_path / "run", Fake(), console=told_to, changed={"size": size, "epochs": 1})
    said = told_to.file.getvalue()
    assert said.count("warning: disk has fewer than 8 pixels at an input grid of 4 x 4") == told
