"""Rooms: live sessions with a shelf and a pin; their logs are engine/rooms.py's."""
