"""The broadcaster: shards' events become topics' events, for rooms and for members.

For each shard: read the stream behind the position, publish one batch to each log it touches,
then move the position. Each log knows its mark, so a batch may be repeated, in part or whole.
"""
