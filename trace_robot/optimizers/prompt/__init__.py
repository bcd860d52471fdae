"""Prompts of the optimizers that ask a language model, and the replies to them.

``build`` puts the parts together. The graph's part is made in three passes: ``table``, ``selection``, ``graph_text``.
``trial_text`` writes feedback and history, ``values`` converts between values and text, ``wording`` has the fixed
sentences, ``reply`` parses what comes back, and ``drawing`` draws a graph for people.
"""
