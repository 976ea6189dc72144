"""What a process of the server is: its options, its addresses, its log, its signals, its Valkey."""
