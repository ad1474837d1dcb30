"""One model on several devices: the worker leads, and a process for each further device follows it call by call.

The collective operations of diffusers' parallelism end in none of the processes unless they begin in all of them. So each
process loads the same model and runs the same calls, and all end a call at the same step.
"""
