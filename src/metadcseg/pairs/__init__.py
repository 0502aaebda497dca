"""What verified masks say about the masks that they replaced: numbers with intervals, sentences, advice."""
