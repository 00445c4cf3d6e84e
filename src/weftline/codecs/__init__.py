"""Bytes ↔ Arrow: one module per format; a codec is total, bounded and knows nothing of contracts or stores."""
