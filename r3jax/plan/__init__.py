"""What a run will need of TPU chips, found by their compiler before anybody pays for one."""
