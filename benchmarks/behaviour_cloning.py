"""Behavior cloning from demonstrations: a small network in numpy, scored on held-out conditions.

    python benchmarks/behaviour_cloning.py --tasks drawer-open-v3 window-open-v3

For each task it writes a Minari data set with the zoo's controller (``trace_robot.dataset.demonstrate``), fits a
network with two hidden layers to its actions (Adam), and rolls the network out on conditions that no demonstration
began with.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import minari
import numpy as np

from trace_robot.bench.zoo import zoo
from trace_robot.dataset import demonstrate
from trace_robot.policy import load_policy
from trace_robot.settings import held_out_seeds
from trace_robot.spec import Array
from trace_robot.stats import wilson

TASKS = ("button-press-topdown-v3", "drawer-open-v3", "window-open-v3", "pick-place-v3")
HIDDEN, BATCH, RATE = 128, 256, 1e-3
NOISE = 0.02  # standard deviation added to each scaled observation, so that small errors do not add up


class Network:
    """A multilayer perceptron: observations in, actions out.

    Args:
        observations: (N, obs_dim), which also set the scale.
        actions: (N, act_dim).
        seed: of the initial weights and of the batches.
    """

    def __init__(self, observations: Array, actions: Array, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        # A number that never changed says nothing, and would be divided by zero.
        self._used = observations.std(axis=0) > 1e-6
        kept = observations[:, self._used]
        self._mean, self._scale = kept.mean(axis=0), kept.std(axis=0)
        sizes = [kept.shape[1], HIDDEN, HIDDEN, actions.shape[1]]
        self._weights = [
            self._random.normal(0, 1 / np.sqrt(before), (before, after))
            for before, after in itertools.pairwise(sizes)
        ]
        self._biases = [np.zeros(after) for after in sizes[1:]]
        self._inputs, self._targets = self._scaled(observations), actions.astype(float)

    def __call__(self, observation: Array) -> Array:
        """Return the action for an observation, (act_dim,)."""
        return np.asarray(self._forward(self._scaled(observation[None]))[-1][0])

    def fit(self, steps: int) -> float:
        """Minimize the mean squared error with Adam, and return that of all data.

        Args:
            steps: of a batch each; the step size falls to zero along half a cosine.
        """
        places = self._weights + self._biases
        first, second = ([np.zeros_like(each) for each in places] for _ in range(2))
        for step in range(1, steps + 1):
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            for place, gradient, mean, square in zip(places, self._gradients(), first, second, strict=True):
                mean += 0.1 * (gradient - mean)
                square += 0.001 * (gradient**2 - square)
                place -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        return float(((self._forward(self._inputs)[-1] - self._targets) ** 2).mean())

    def _scaled(self, observations: Array) -> Array:
        return np.asarray((observations[:, self._used] - self._mean) / self._scale)

    def _forward(self, inputs: Array) -> list[Array]:
        layers = [inputs]
        for weight, bias in zip(self._weights[:-1], self._biases[:-1], strict=True):
            layers.append(np.tanh(layers[-1] @ weight + bias))
        return [*layers, layers[-1] @ self._weights[-1] + self._biases[-1]]

    def _gradients(self) -> list[Array]:
        rows = self._random.integers(0, len(self._inputs), BATCH)
        inputs = self._inputs[rows]
        layers = self._forward(inputs + self._random.normal(0, NOISE, inputs.shape))
        error = 2 * (layers[-1] - self._targets[rows]) / self._targets[rows].size
        weights: list[Array] = []
        biases: list[Array] = []
        for place in reversed(range(len(self._weights))):
            weights.insert(0, layers[place].T @ error)
            biases.insert(0, error.sum(axis=0))
            error = error @ self._weights[place].T * (1 - layers[place] ** 2)
        return weights + biases


def successes(env: Any, network: Network, seeds: tuple[int, ...]) -> int:
    """Return on how many conditions the network succeeds.

    Args:
        env: the environment.
        network: acts on each observation alone.
        seeds: the conditions.
    """
    count = 0
    for seed in seeds:
        observation, over = env.reset(seed=seed)[0], False
        while not over:
            observation, _, terminated, truncated, info = env.step(network(observation).astype(np.float32))
            over = terminated or truncated
        count += bool(info["success"])
    return count


def clone(
    task: str, folder: Path, *, demonstrations: int, steps: int, episodes: int, seed: int
) -> dict[str, Any]:
    """Return how well a network does a task that learned from demonstrations.

    Args:
        task: of Meta-World.
        folder: for the data set.
        demonstrations: to learn from.
        steps: of Adam.
        episodes: held-out conditions to score on.
        seed: of conditions, weights and batches.
    """
    demonstrate({task: load_policy(zoo()[task])}, folder, to="minari", episodes=demonstrations, seed=seed)
    data = minari.MinariDataset(folder / task / "demonstrations-v0" / "data")
    every = list(data.iterate_episodes())
    observations = np.concatenate([each.observations[:-1] for each in every])
    network = Network(observations, np.concatenate([each.actions for each in every]), seed)
    began = time.perf_counter()
    error = network.fit(steps)
    seconds = time.perf_counter() - began
    count = successes(data.recover_environment(), network, held_out_seeds(seed, episodes))
    return {
        "task": task,
        "demonstrations": len(every),
        "frames": len(observations),
        "error": error,
        "seconds": seconds,
        "success": count / episodes,
        "interval": wilson(count, episodes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=TASKS, metavar="NAME")
    parser.add_argument("--demonstrations", type=int, default=50, metavar="N")
    parser.add_argument("--steps", type=int, default=5000, metavar="N", help="of Adam")
    parser.add_argument("--episodes", type=int, default=50, metavar="N", help="held-out conditions")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for task in options.tasks:
        with TemporaryDirectory() as folder:
            row = clone(
                task,
                Path(folder) / "demos",
                demonstrations=options.demonstrations,
                steps=options.steps,
                episodes=options.episodes,
                seed=options.seed,
            )
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            low, high = row["interval"]
            print(
                f"{task}: success {row['success']:.2f} of {options.episodes} held-out conditions ({low:.2f} to"
                f" {high:.2f}), from {row['demonstrations']} demonstrations, {row['frames']:,} frames; fitted in"
                f" {row['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
