"""The parts of a server process: its options, its addresses, its log, its signals, its Valkey."""
