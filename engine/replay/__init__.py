"""The pure model of a shard: what the scripts must decide, and what the events add up to.

`shard` holds the state and applies events, `decide` and `decide_payments` are
each command as a pure function,
`view` compares the model with a hot store. No clock and no random numbers of its own: the time
and the nonce come from outside, so the same events always give the same state.
"""
