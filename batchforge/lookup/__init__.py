"""Looking into what is remembered: show, find, history, runs, try, erase, debug."""
