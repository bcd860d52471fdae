"""Prompts of the optimizers that ask a language model, and the replies to them.

``build`` puts the parts together. The graph's part is made in three passes: ``table``, ``selection``, ``graph_text``,
which also draws a graph for people. ``trial_text`` writes feedback and history, ``values`` converts between values and
text, and ``reply`` parses what comes back. The fixed sentences are here; recordings hold them byte for byte.
"""

from __future__ import annotations

PARTS = {
    "#Instruction": "what to do",
    "#Context": "what is known of the problem",
    "#Code": "the calls that the program made, in order; repeated steps are folded",
    "#Documentation": "what the functions in #Code do",
    "#Variables": "what you can change, with the present values",
    "#Constraints": "what each new value must obey",
    "#Inputs": "values that went in and cannot be changed",
    "#Others": "values on the way, by step where steps repeat; rounded",
    "#Outputs": "what came out",
    "#Feedback": "what came of it; a larger score is better",
    "#History": "other trials: what was changed and what came of it",
    "#Rejected": "recent replies that could not be used, and why",
}

# What is of the trace graph. Without all of these the model sees parameters and feedback alone, the ablation of
# arXiv:2406.16218, section 5.
GRAPH_PARTS = ("#Code", "#Documentation", "#Inputs", "#Others", "#Outputs")
OTHER_TRIALS = ("#Newest", "#History")

# Of prompts by worth: further parts, and parts that mean something else there.
NEW_PARTS = {
    "#Facts": "what is known of the machine",
    "#Newest": "the newest other trial: what it changed, its episodes beside those of #Feedback, one step by step",
}
# A part of prompts by worth where trainable code uses what stands beside it in its file.
MODULE = {"#Module": "what stands beside the variables in the same file and is used by them"}
KEPT = (
    "It stays as it is when a variable is replaced, and may be used as it is; it is not tuned. A name that a new value"
    " defines or imports itself takes the place of the same name here, for all functions of the file."
)
MEANINGS = {
    "#Inputs": "values that did not change in the episode of #Others",
    "#Others": "one episode of the present values: values by step, to 0.001 or finer",
    "#Feedback": "how the episodes of the present values went; a larger score is better",
    "#History": "older trials: what was changed and what it scored",
}

GRAPHLESS = {"#Newest": "the newest other trial: what it changed, and its episodes beside those of #Feedback"}

INSTRUCTION = (
    "Change the values of the variables in #Variables so that the score rises, in accordance with #Feedback."
)

FORMAT = """\
Answer in exactly this form, with nothing after it:

<reasoning>
What the feedback means, which cause in the variables explains it, and what the change will do. Be brief.
</reasoning>
<change>one line: what is changed and why</change>
<variable name="NAME">
the new value
</variable>
<stop>no</stop>

Rules:
- One <variable> block for each variable that you change; leave out the others. Only names in #Variables.
- The value of a (code) variable is the whole new source in a ```python block. Keep the name and the
  parameters of its function. Imports, constants and helper functions may stand before it.
- A (text) value is written as it is; any other value as a Python literal.
- Write <stop>yes</stop>, and no variable, only if nothing can be improved.
"""

FIRST_DOCSTRING = "at first it said: "  # before the docstring that a function had in the starting values
