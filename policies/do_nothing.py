"""Does nothing: the starting point of the paper's experiment."""

from trace_robot import bundle


@bundle(trainable=True)
def act(observation, memory):
    """Return the next action as a list of numbers.

    observation: a dict of named values, as the environment describes them.
    memory: a dict, empty at the start of an episode, kept from one call to the next.
    """
    return [0.0, 0.0, 0.0, 0.0]
