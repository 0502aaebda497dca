"""How fast the table of an audit and its ranking become known: cases chosen by `next_cases`, at random, or worst first.

    .venv/bin/python studies/audit_next.py --out results/audit-next.json

Masks alone, no training: phantoms, three annotators of unequal shares with a habit each, and in place of a network the
truth with errors of its own. Every strategy begins with the same six verified pairs and verifies ten cases at a time.
The table says how probable each class is where an annotator gave one and the network another; it is compared with that
of all cases, and the DSC expected by it with the true one.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from metadcseg.audit.next_cases import next_cases
from metadcseg.audit.ranking import expected_dsc
from metadcseg.audit.records import AuditedCase
from metadcseg.data.synthetic.phantom import PhantomOptions, draw_case
from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.calibration import calibrate
from metadcseg.noise.registry import noise_model

ANNOTATORS = (("anna", "over", 0.7), ("ben", "under", 0.2), ("cleo", "careless", 0.1))
RATE, OPINION = 0.3, ("paper-centred", 0.15)
COUNT, SIZE, GROUP, FIRST, STEP, ROUNDS = 160, 64, 4, 6, 10, 3
PRIOR = 2.0  # mean cases of all annotators with which each one's own table begins


def noisy(masks, names, kind, rate, seed):
    model = noise_model(kind, rate)
    strength = calibrate(masks, names, model, rate, seed, tolerance=0.1).strength
    pairs = zip(masks, names, strict=True)
    return [corrupt(mask, draw_mask(model, seed, name, 2), model, strength) for mask, name in pairs]


def draw(seed):
    """Return truths, given masks, opinions (N, H, W) and who drew each."""
    options = PhantomOptions(count=COUNT, size=SIZE, group=GROUP, seed=seed)
    truth = np.stack([draw_case(options, number)[1] for number in range(COUNT)])
    names = [f"case-{number:03d}" for number in range(COUNT)]
    shares = [share for *_, share in ANNOTATORS]
    drawn = np.random.default_rng([seed, 1]).choice(len(ANNOTATORS), COUNT, p=shares)
    given = truth.copy()
    for number, (_, kind, _) in enumerate(ANNOTATORS):
        own = np.flatnonzero(drawn == number)
        given[own] = noisy(truth[own], [names[at] for at in own], kind, RATE, seed)
    opinion = np.stack(noisy(list(truth), names, *OPINION, seed + 1000))
    return truth, given, opinion, drawn, names


def counted(truth, given, opinion):
    """(N, given, opinion, truth): pixels of every combination."""
    codes = given.astype(np.int64) * 4 + opinion * 2 + truth
    return np.stack([np.bincount(each.ravel(), minlength=8).reshape(2, 2, 2) for each in codes]).astype(float)


def table(counts, drawn, verified):
    """(annotator, given, opinion, truth): P(truth), from verified cases."""
    pooled = counts[verified].mean(axis=0) + 0.25 * (1 + np.eye(2)[:, None, :])
    own = [counts[[at for at in verified if drawn[at] == a]].sum(axis=0) for a in range(len(ANNOTATORS))]
    held = np.stack(own) + PRIOR * pooled
    return held / held.sum(axis=-1, keepdims=True)


def audited(number, name, counts, share, annotator):
    """What an audit says of one case by a table (given, opinion, truth): its expected DSC."""
    dsc = expected_dsc((counts.sum(axis=-1)[..., None] * share).sum(axis=1))
    about = (None, dsc, (0.0, 1.0), (), annotator, str(number // GROUP))
    return AuditedCase(name, name, "train", (1, SIZE, SIZE), *about)


def play(strategy, seed, phantoms):
    truth, given, opinion, drawn, names = phantoms
    counts = counted(truth, given, opinion)
    everything = table(counts, drawn, list(range(COUNT)))
    cells = np.stack([counts[drawn == a].sum(axis=(0, 3)) for a in range(len(ANNOTATORS))])
    errors = sum(counts[:, g, :, t].sum() for g, t in ((0, 1), (1, 0)))
    exact = np.array([expected_dsc(each.sum(axis=1)) for each in counts])
    rng = np.random.default_rng([seed, 2])
    verified = rng.permutation(COUNT)[:FIRST].tolist()
    order = [at for at in rng.permutation(COUNT).tolist() if at not in verified]
    rows = []
    for _ in range(ROUNDS + 1):
        rates = table(counts, drawn, verified)
        people = [ANNOTATORS[a][0] for a in drawn]
        cases = [audited(at, names[at], counts[at], rates[drawn[at]], people[at]) for at in range(COUNT)]
        off = (cells * np.abs(rates - everything)[..., 1]).sum() / errors
        found = np.array([case.dsc for case in cases])
        rows.append(
            {
                "verified": len(verified),
                "table": float(off),
                "ranking": float(spearmanr(found, exact).statistic),
                "dsc": float(np.abs(found - exact).mean()),
            }
        )
        done = {names[at] for at in verified}
        if strategy == "chosen":
            picked = [names.index(choice.case.id) for choice in next_cases(cases, STEP, reviewed=done)]
        elif strategy == "worst":
            left = sorted((case.dsc, case.id) for case in cases if case.id not in done)
            picked = [names.index(id) for _, id in left[:STEP]]
        else:
            picked = [at for at in order if at not in verified][:STEP]
        verified += picked
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    began, found = time.process_time(), {}
    for seed in range(asked.seeds):
        phantoms = draw(seed)
        for strategy in ("chosen", "random", "worst"):
            found.setdefault(strategy, []).append(play(strategy, seed, phantoms))
    summary = []
    for number in range(ROUNDS + 1):
        row = {"verified": FIRST + STEP * number}
        for name in ("table", "ranking", "dsc"):
            values = {s: np.array([rows[number][name] for rows in played]) for s, played in found.items()}
            better = values["chosen"] - values["random"]
            better = better if name == "ranking" else -better
            row[name] = {
                s: [round(float(v.mean()), 4), round(float(v.std(ddof=1)), 4)] for s, v in values.items()
            }
            row[name]["chosen better than random"] = f"{int((better > 0).sum())} of {asked.seeds}"
        summary.append(row)
    told = {
        "facts": {
            "command": f"python studies/audit_next.py --seeds {asked.seeds} --out {asked.out}",
            "cases": COUNT,
            "annotators": ANNOTATORS,
            "rate": RATE,
            "opinion": OPINION,
            "seconds": round(time.process_time() - began),
            "units": {
                "table": "wrong pixels that the table misses or makes up, over all wrong pixels",
                "ranking": "Spearman's correlation of expected and true DSC, all cases",
                "dsc": "mean of |expected - true DSC|",
                "pairs of numbers": "mean and standard deviation over seeds",
            },
        },
        "after verifying": summary,
    }
    asked.out.write_text(json.dumps(told, indent=1) + "\n")
    for row in summary:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
