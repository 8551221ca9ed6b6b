"""How well Otvet answers, measured on questions and replies that were written before anything was tuned to them."""
