"""The pure model of a shard: what the scripts must decide, and what the events add up to.

`state` has the values, `shard`, `seats` and `teams` apply events to them. `decide` and its
sisters are each command as a pure function, which makes its decision on a `draft`;
`landing` says where a late payment goes; `view` compares the model with a hot store. No clock and
no random numbers of its own: the time and the nonce come from outside, so the same events always
give the same state.
"""
