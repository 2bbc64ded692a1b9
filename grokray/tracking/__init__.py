THREAD = "grokray-tracking"  # that shows the journal to the trackers
