"""What is timed: each makes the processes and threads of one kind of work, and does a round."""
