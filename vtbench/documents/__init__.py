"""Tables, and one writer a format: terminal, Markdown, CSV, LaTeX; and the bytes of figures. It knows no subject."""
