"""The parts of which views are drawn: bars, columns, sentences, tags and colours."""
