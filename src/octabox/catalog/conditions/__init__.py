"""What a call may say beside its task: pictures that steer it."""
